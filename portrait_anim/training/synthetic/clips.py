"""Smooth sequences of one actor, frame by frame.

Shape legend: T frames, W picture side [px].
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from portrait_anim.training.synthetic.motion import Gesture
from portrait_anim.training.synthetic.renderer import Renderer
from portrait_anim.types import UInt8Array


def render_clip(renderer: Renderer, row: int, curves: Gesture, *, batch: int = 4) -> Iterator[UInt8Array]:
    """Render a person of the cast along explicit curves.

    Args:
        renderer: Gives size and quality of the pictures.
        row: Which person.
        curves: What the person does, `(T, ...)`, on the renderer's device; one row per frame of the wanted rate.
        batch: Frames rendered together.

    Yields:
        T pictures `(W, W, 3)` uint8 sRGB.

    Raises:
        ValueError: If the row does not exist or a curve has another length.
    """
    if not 0 <= row < len(renderer.cast.people):
        raise ValueError(f"expected a row below {len(renderer.cast.people)}, got {row}")
    lengths = {len(c) for c in (curves.expr, curves.head, curves.shift, curves.gaze)}
    if len(lengths) != 1:
        raise ValueError(f"expected curves of one length, got {sorted(lengths)} frames")
    frames = torch.arange(len(curves), device=renderer.device)
    for index in torch.split(frames, batch):
        who = torch.full_like(index, row)
        image = renderer.render(who, renderer.motion_of(who, curves.rows(index))).image
        pixels = (image.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        yield from (np.ascontiguousarray(picture) for picture in pixels)


def render_still(renderer: Renderer, row: int, gesture: Gesture) -> UInt8Array:
    """Render one picture `(W, W, 3)` uint8 sRGB of a person; `gesture` has one row."""
    return next(render_clip(renderer, row, gesture))
