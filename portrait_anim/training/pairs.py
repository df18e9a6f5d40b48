"""Pairs of consecutive frames: training samples in which neighbours are a frame and the next frame of one clip."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

import torch

from portrait_anim.training.synthetic.motion import Gesture, choose
from portrait_anim.training.synthetic.mouth import LOOK
from portrait_anim.training.synthetic.renderer import Renderer
from portrait_anim.training.synthetic.samples import limit_turn, render_samples, usable_rows
from portrait_anim.training.synthetic.sequences import MotionSequences

_CURVE_FRAMES: Final = 32  # curves this long, of which two consecutive frames are taken
_PHOTO_SOURCE: Final = 0.7  # share of pairs whose source is the untouched photograph


def draw_pairs(renderer: Renderer, count: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Draw `count / 2` pairs of frames 40 ms apart; see `synthetic.samples.TrainingBatch` for the keys.

    Both frames of a pair have the same source, driver and mouth, and smooth random motion between them.

    Args:
        renderer: Draws the pictures.
        count: Number of samples, even.
        generator: Source of all randomness, on the renderer's device.

    Returns:
        Stored samples: frame and next frame in turn.

    Raises:
        ValueError: If `count` is odd or the cast has fewer than two people.
    """
    if count % 2:
        raise ValueError(f"expected an even number of samples, got {count}")
    people = renderer.cast.people
    if len(people) < 2:
        raise ValueError("expected a cast of at least two people, for a source and another driver, got one")
    statistics, pairs = renderer.statistics, count // 2
    _, clean = usable_rows(renderer)
    who = statistics.pick(generator, clean, pairs)
    other = statistics.pick(generator, clean, pairs)
    other = torch.where(other == who, (other + 1) % len(people), other)
    target = _two_frames(renderer, who, generator)
    is_photo = statistics.rand(generator, pairs) < _PHOTO_SOURCE
    still = Gesture(
        expr=statistics.expression(pairs, generator),
        head=limit_turn(people.yaw[who], statistics.head(pairs, generator)),
        shift=statistics.shift(pairs, generator),
        gaze=statistics.gaze(pairs, generator),
    )
    source = choose(is_photo, renderer.photographed(who), still)
    nudge = statistics.randn(generator, pairs, 3) * statistics.vector(2.0, 1.5, 1.5)
    driver = Gesture(
        expr=target.expr, head=target.head + twice(nudge), shift=twice(statistics.shift(pairs, generator)),
        gaze=target.gaze,
    )  # fmt: skip
    own = statistics.randn(generator, 2, pairs, LOOK) * 0.6
    batch = render_samples(
        renderer,
        twice(who),
        twice(other),
        (Gesture(**{f.name: twice(getattr(source, f.name)) for f in fields(source)}), target, driver),
        (twice(is_photo), torch.zeros_like(twice(is_photo))),
        torch.cat([twice(own[0]), twice(own[1])]),
    )
    return batch.as_dict()


def twice(values: torch.Tensor) -> torch.Tensor:
    """Repeat every row `(P, ...)` for both frames of its pair, `(2P, ...)`."""
    return values.repeat_interleave(2, 0, output_size=2 * len(values))


def _two_frames(renderer: Renderer, who: torch.Tensor, generator: torch.Generator) -> Gesture:
    """Two consecutive frames of smooth random motion of each of `who` `(P,)`, interleaved `(2P, ...)`."""
    statistics, pairs = renderer.statistics, len(who)
    curves = MotionSequences(statistics).sample(pairs, _CURVE_FRAMES, generator)
    at = (statistics.rand(generator, pairs) * (_CURVE_FRAMES - 1)).long()
    row = torch.arange(pairs, device=who.device)
    values = {
        f.name: torch.stack([getattr(curves, f.name)[row, at], getattr(curves, f.name)[row, at + 1]], 1).flatten(0, 1)
        for f in fields(curves)
    }
    baked = twice(renderer.shown[who])  # a photographed smile cannot be undone well
    return Gesture(
        expr=values["expr"] + baked * (1 - values["expr"]),
        head=limit_turn(twice(renderer.cast.people.yaw[who]), values["head"]),
        shift=values["shift"],
        gaze=values["gaze"],
    )
