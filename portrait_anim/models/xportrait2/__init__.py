"""Networks of the `xportrait2` profile: the published X-Portrait 2 / X-NeMo model on our own modules."""
