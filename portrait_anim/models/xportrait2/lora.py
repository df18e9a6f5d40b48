"""Low-rank adapters for the `xportrait2` networks: small files that change a network's linear layers.

An adapter holds, per layer, two matrices A `(r, in)` and B `(out, r)`; the layer's weight becomes
`W + strength * alpha / r * B A` (Hu et al., "LoRA", ICLR 2022). It is added to the weights once, so that rendering
costs nothing more, and can be taken out again. 1x1 convolutions count as linear layers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from portrait_anim.errors import StateDictMismatch

_ENDINGS: Final = {
    "lora_A.weight": "down", "lora_B.weight": "up",  # peft
    "lora_A.default.weight": "down", "lora_B.default.weight": "up",
    "lora_down.weight": "down", "lora_up.weight": "up", "lora.down.weight": "down", "lora.up.weight": "up",
    "alpha": "alpha",
}  # fmt: skip
_KEY: Final = re.compile(rf"^(?:base_model\.model\.)?(.+)\.({'|'.join(re.escape(end) for end in _ENDINGS)})$")


@torch.no_grad()
def merge_lora(network: nn.Module, path: Path, *, strength: float = 1.0) -> Callable[[], None]:
    """Add an adapter to a network's weights.

    Args:
        network: Network whose layers the file names.
        path: Safetensors file with keys `<layer>.lora_A.weight` and `.lora_B.weight` (peft), or `lora_down` and
            `lora_up`; `<layer>.alpha` is optional and the rank by default.
        strength: Factor on the change.

    Returns:
        A function that restores the weights as they were. It keeps a copy of the changed ones on the CPU.

    Raises:
        StateDictMismatch: If the file is no adapter or does not fit this network; then nothing is changed.
    """
    layers = dict(network.named_modules())
    changes: dict[nn.Parameter, torch.Tensor] = {}
    problems = []
    for name, parts in _read(path).items():
        weight = getattr(layers.get(name), "weight", None)
        if not isinstance(weight, nn.Parameter):
            problems.append(f"unknown layer {name}")
        elif not {"down", "up"} <= parts.keys():
            problems.append(f"half of an adapter for {name}")
        else:
            down, up = (parts[key].float().flatten(1) for key in ("down", "up"))
            pointwise = weight.ndim == 2 or weight.shape[2:].numel() == 1
            if not pointwise or (up.shape[0], down.shape[1]) != weight.shape[:2] or up.shape[1] != down.shape[0]:
                shapes = f"{tuple(up.shape)} x {tuple(down.shape)} for {tuple(weight.shape)}"
                problems.append(f"wrong shape in {name}: {shapes}")
            else:
                alpha = float(parts["alpha"]) if "alpha" in parts else len(down)
                changes[weight] = (strength * alpha / len(down) * up @ down).reshape(weight.shape)
    if problems or not changes:
        listed = "; ".join(problems[:10]) or "no layers"
        raise StateDictMismatch(
            f"expected an adapter for {type(network).__name__} in {path}, got: {listed}; "
            "use a file that was trained for this network"
        )
    before = {weight: weight.detach().to("cpu", copy=True) for weight in changes}
    for weight, change in changes.items():
        weight.copy_((weight.float() + change.to(weight.device)).to(weight.dtype))

    @torch.no_grad()
    def restore() -> None:
        for weight, old in before.items():
            weight.copy_(old)

    return restore


def _read(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Parts of the adapter per layer."""
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise StateDictMismatch(f"expected an adapter in safetensors, cannot read {path}: {error}") from error
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.match(key)
        if match is None:
            raise StateDictMismatch(f"expected keys such as <layer>.lora_A.weight in {path}, got {key}")
        found.setdefault(match[1], {})[_ENDINGS[match[2]]] = tensor
    return found
