"""How the `lite` weights are made: data, augmentation, losses, loop."""
