"""The `xportrait2` networks at a size at which scripts can be tried on any machine; what they compute means nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from portrait_anim.models.xportrait2.adapter import PUBLISHED, PublishedModule

_UNET: Final[dict[str, Any]] = {"block_channels": (32, 32, 32, 32), "heads": 2, "context_dim": 8}
_CONFIGS: Final[dict[str, dict[str, Any]]] = {
    "motion_encoder": {
        "sample_size": 64, "channels": 128, "depth": 4, "attention_dim": 16, "attention_heads": 2, "num_maps": 4,
        "feature_dim": 8, "placement_dim": 4, "num_tokens": 4, "token_dim": 4,
    },
    "reference_unet": _UNET,
    "denoising_unet": {**_UNET, "motion_dim": 4},
    "vae": {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1},
    "image_encoder": {
        "sample_size": 28, "channels": 8, "depth": 1, "heads": 2, "hidden_dim": 8, "projection_dim": 8,
    },
}  # fmt: skip


def trial_modules() -> dict[str, PublishedModule]:
    """The published networks, a thousandth in size, by the names of our components."""
    return {name: replace(module, config={**module.config, **_CONFIGS[name]}) for name, module in PUBLISHED.items()}
