"""Tiny networks with weights that are the same every time."""

import pytest
import torch


@pytest.fixture
def seeded():
    """Build a network with random weights; nothing stays zero."""

    def build(cls, **config):
        torch.manual_seed(0)
        network = cls(**config).eval()
        with torch.no_grad():
            for name, tensor in network.named_parameters():
                if not tensor.any():
                    tensor.normal_(std=0.2 if name.endswith("weight") else 0.02)
        return network

    return build
