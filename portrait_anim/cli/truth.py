"""Samples with known truth for `evaluate`: rendered by the training rooms, measured by the evaluation rooms.

The two rooms may not know each other; the command line knows both and carries arrays from one to the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import Tensor

    from portrait_anim.evaluation.truth import TruthSamples
    from portrait_anim.training.synthetic.renderer import RenderedBatch, Renderer
    from portrait_anim.types import UInt8Array

_BATCH: Final = 8
_SUPERSAMPLING: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class TruthSource:
    """Where samples come from.

    Attributes:
        render: Renders them; `None` when there is no pack.
        key: Names them.
        note: What they are, or why there are none.
    """

    render: Callable[[], TruthSamples] | None
    key: str
    note: str


def truth_source(pack: Path | None, count: int, seed: int) -> TruthSource:
    """Say what samples there will be.

    Args:
        pack: The data pack, or `None`.
        count: Number of samples.
        seed: Decides everything random in them.

    Raises:
        InputError: If the pack is named and absent.
    """
    from portrait_anim.training.synthetic.pack import read_pack
    from portrait_anim.weights import file_sha256

    if pack is None:
        return TruthSource(render=None, key="", note="left out, because no data pack was given (--pack PACK.npz)")
    read_pack(pack)
    return TruthSource(
        render=partial(render_truth, pack, count, seed),
        key=f"{file_sha256(pack)} {count} {seed}",
        note=f"{count} samples of held-out people of {pack.name}",
    )


def render_truth(pack: Path, count: int, seed: int) -> TruthSamples:
    """Render samples of people kept out of training.

    The portrait is the untouched photograph of one person. Target and second driver frame show a random gesture, the
    first driver frame shows what the photograph shows, so that the change of the driver is the change to make.

    Args:
        pack: The data pack.
        count: Number of samples.
        seed: Decides everything random in them.

    Returns:
        The samples.
    """
    import numpy as np
    import torch

    from portrait_anim.evaluation.truth import TruthSamples
    from portrait_anim.training.synthetic.motion import Gesture
    from portrait_anim.training.synthetic.pack import read_pack
    from portrait_anim.training.synthetic.renderer import Renderer
    from portrait_anim.training.synthetic.samples import HELD_OUT_EVERY

    people = read_pack(pack)
    numbers = [int(number) for number in people.numbers if number % HELD_OUT_EVERY == 0]
    renderer = Renderer.from_pack(people, numbers=numbers, split="evaluation", supersample=_SUPERSAMPLING)
    generator = torch.Generator(renderer.device).manual_seed(seed)
    parts: dict[str, list[UInt8Array]] = {name: [] for name in ("source", "target", "before", "after")}
    flows, visible = [], []
    for first in range(0, count, _BATCH):
        size = min(_BATCH, count - first)
        drawn = renderer.sample(size, generator, photo_target=0.0, two_renders=0.0)
        who, other = drawn.who, drawn.other
        gesture = Gesture(
            expr=drawn.expr_drv, head=drawn.head_tgt, shift=torch.zeros(size, 3, device=who.device), gaze=drawn.gaze_drv
        )
        start = renderer.photographed(who)
        shown = renderer.render(who, renderer.motion_of(who, gesture))
        flow, seen = _correspondence(renderer, who, shown)
        flows.append(flow.cpu().numpy())
        visible.append(seen.cpu().numpy())
        pictures = {
            "source": renderer.photos(who),
            "target": shown.image,
            "before": renderer.render(other, renderer.motion_of(other, start)).image,
            "after": renderer.render(other, renderer.motion_of(other, gesture)).image,
        }
        for name, image in pictures.items():
            parts[name].append(_to_pictures(image))
    whole = {name: np.concatenate(images) for name, images in parts.items()}
    return TruthSamples(
        source=whole["source"], target=whole["target"], driver_before=whole["before"], driver_after=whole["after"],
        flow=np.concatenate(flows), visible=np.concatenate(visible),
    )  # fmt: skip


def _correspondence(renderer: Renderer, who: Tensor, shown: RenderedBatch) -> tuple[Tensor, Tensor]:
    """Where each pixel of the renders lies in the photographs `(B, W, W, 2)` [px], and how far it shows `(B, W, W)`."""
    import torch

    from portrait_anim.training.synthetic.flow import follow, view, visibility

    index = torch.arange(len(who), device=who.device)
    untouched = torch.full_like(index, -1)
    photograph, render = view(renderer, who, untouched, shown), view(renderer, who, index, shown)
    place = follow(photograph, render)
    seen = visibility(photograph, render, place)
    return renderer.window.to_pixels(place, renderer.size_px), seen[:, 0]


def _to_pictures(image: Tensor) -> UInt8Array:
    """`(B, 3, W, W)` in [0, 1] to `(B, W, W, 3)` uint8."""
    import torch

    pixels: UInt8Array = (image.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return pixels
