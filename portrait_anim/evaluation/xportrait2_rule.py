"""Deterministic pseudo-random weights for the `xportrait2` networks, by which implementations are compared.

Every tensor follows from its published name and shape alone, so two programs that hold no file in common can be
filled with the same numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch

from portrait_anim.models.xportrait2.adapter import PUBLISHED, PublishedModule, key_map, load_published
from portrait_anim.models.xportrait2.attention import token_table
from portrait_anim.types import Float32Array

_DAMPED: Final = {"final_proj.weight": np.float32(0.05)}  # keeps motion tokens near 1, so that attention varies


def rule_array(key: str, shape: Sequence[int]) -> Float32Array:
    """Numbers of one tensor.

    Args:
        key: Its name in the published network.
        shape: Its shape.

    Returns:
        Normal numbers drawn from the CRC-32 of the name: matrices and kernels scaled by their fan-in, scales of norms
        near 1, everything else near 0.
    """
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    numbers = generator.standard_normal(tuple(shape), dtype=np.float32)
    if len(shape) >= 2:
        numbers *= np.float32(1 / np.sqrt(float(np.prod(shape[1:]))))
    elif len(shape) == 1 and key.endswith(("weight", "running_var")):
        numbers = np.float32(1) + np.float32(0.02) * numbers
    else:
        numbers = np.float32(0.02) * numbers
    return numbers * _DAMPED[key] if key in _DAMPED else numbers


def rule_state(module: PublishedModule) -> dict[str, torch.Tensor]:
    """Tensors of a network by their published names, as its file would hold them.

    Tables that follow from the architecture are not drawn.
    """
    state, names = {}, key_map(module)
    for ours, tensor in module.build("meta").state_dict().items():
        key = names[ours]
        if key == "pe":
            state[key] = token_table(*tensor.shape[1:])
        elif not tensor.is_floating_point():
            state[key] = torch.zeros(tensor.shape, dtype=tensor.dtype)
        elif not key.endswith("pos_encoder.pe"):
            state[key] = torch.from_numpy(rule_array(key, tensor.shape))
    return state


def rule_network(name: str, modules: Mapping[str, PublishedModule] = PUBLISHED) -> torch.nn.Module:
    """A network filled by the rule; at full size the denoising UNet takes 6.7 GB.

    Args:
        name: Component of the pipeline.
        modules: The networks.
    """
    return load_published(modules[name], rule_state(modules[name]))
