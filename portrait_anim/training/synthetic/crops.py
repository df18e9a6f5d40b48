"""Pictures for the motion encoder alone: faces only, cheaper than whole training samples.

A motion encoder needs no source, flow or visibility. Its samples are groups of four small pictures: two people who both
show two gestures, so that differences within one person and agreement between people can be learnt.

Shape legend: B groups, S picture side [px].
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from portrait_anim.training.synthetic import camera
from portrait_anim.training.synthetic import variation as vary
from portrait_anim.training.synthetic.motion import Gesture, choose
from portrait_anim.training.synthetic.mouth import LOOK, person_look
from portrait_anim.training.synthetic.posing import Motion, pose_head
from portrait_anim.training.synthetic.samples import limit_turn

if TYPE_CHECKING:
    from portrait_anim.training.synthetic.renderer import Renderer

WINDOW: Final = camera.Window(left=112.0, top=190.0, span=800.0)  # the face, without most of hair and shoulders
SIZE_PX: Final = 160  # a motion crop cut from it has about 128 px
_CANDIDATES: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class CropGroups:
    """Groups of four pictures: person A with gestures 1 and 2, then person B with the same.

    Attributes:
        picture: `(B, 4, 3, S, S)` uint8, showing `WINDOW`.
        expr: `(B, 2, 53)` semantic expression of the two gestures.
        gaze: `(B, 2, 2)` gaze [deg], right and down.
        head: `(B, 4, 3)` yaw, pitch, roll [deg]; every picture has its own.
        anchor: `(B, 4, 3)` midpoint of the eyeballs, camera space [cm].
        who: `(B, 2)` rows of the two people.
    """

    picture: Tensor
    expr: Tensor
    gaze: Tensor
    head: Tensor
    anchor: Tensor
    who: Tensor

    def as_dict(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def draw_groups(
    renderer: Renderer, groups: int, generator: torch.Generator, *, photo_share: float = 0.12
) -> CropGroups:
    """Draw groups of pictures.

    Person B is, of a few random ones, the one whose photograph smiles most like that of person A: a photographed smile
    cannot be undone well, so both gestures contain it. Everybody but the people of untouched photographs is varied in
    shape, skin and light.

    Args:
        renderer: Draws the pictures; its window should be `WINDOW` and its side `SIZE_PX`, see `crop_renderer`.
        groups: Number B of groups.
        generator: Source of all randomness, on the renderer's device.
        photo_share: Share of groups whose first picture is the untouched photograph.

    Returns:
        The groups.
    """
    statistics = renderer.statistics
    usable, _ = renderer.pools
    first = statistics.pick(generator, usable, groups)
    candidates = statistics.pick(generator, usable, groups, _CANDIDATES)
    unlike = (renderer.shown[candidates] - renderer.shown[first][:, None]).norm(dim=-1) + (candidates == first[:, None])
    second = candidates.gather(1, unlike.argmin(1, keepdim=True))[:, 0]
    photographed = statistics.rand(generator, groups) < photo_share
    baked = torch.maximum(renderer.shown[first], renderer.shown[second])
    gestures = []
    for number in (0, 1):
        expr = statistics.expression(groups, generator)
        kept = baked * (0.5 + 0.5 * statistics.rand(generator, groups, 1))
        gesture = Gesture(
            expr=expr + kept * (1 - expr),
            head=torch.zeros(groups, 3, device=renderer.device),
            shift=torch.zeros(groups, 3, device=renderer.device),
            gaze=statistics.gaze(groups, generator),
        )
        gestures.append(gesture if number else choose(photographed, renderer.photographed(first), gesture))
    pair = lambda name: torch.stack([getattr(g, name) for g in gestures], 1)  # noqa: E731
    cast = torch.stack([first, second], 1)
    picture, head, anchor = _render(renderer, cast, photographed, (pair("expr"), pair("gaze")), generator)
    return CropGroups(picture=picture, expr=pair("expr"), gaze=pair("gaze"), head=head, anchor=anchor, who=cast)


def crop_renderer(renderer: Renderer) -> Renderer:
    """A renderer of the same people that shows faces only, at the size of crop groups."""
    from portrait_anim.training.synthetic.renderer import Renderer

    return Renderer(renderer.cast, size_px=SIZE_PX, split=renderer.split, window=WINDOW)


def _render(
    renderer: Renderer, cast: Tensor, photographed: Tensor, shown: tuple[Tensor, Tensor], generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures `(B, 4, 3, S, S)` of the people `cast` `(B, 2)`, their head poses and anchors `(B, 4, 3)`."""
    statistics = renderer.statistics
    B = len(cast)
    untouched = torch.stack([photographed, *[torch.zeros_like(photographed)] * 3], 1).flatten()  # the first picture
    original = cast[:, :, None].expand(B, 2, 2).flatten()
    variation = vary.draw_variation(renderer.cast.people, cast.flatten(), generator)
    keep = torch.stack([photographed, torch.zeros_like(photographed)], 1).flatten()
    variation = vary.choose(~keep, variation, vary.untouched(renderer.cast.people, cast.flatten()))
    varied = renderer.varied(original, variation.rows(torch.arange(2 * B, device=cast.device).repeat_interleave(2)))
    people, who = varied.cast.people, torch.arange(4 * B, device=cast.device)
    head = limit_turn(people.yaw, statistics.head(4 * B, generator))
    head = torch.where(untouched[:, None], camera.angles(people.rotation), head)
    expr, gaze = (v.repeat(1, 2, 1).flatten(0, 1) for v in shown)
    shift = statistics.shift(4 * B, generator) * ~untouched[:, None]
    motion = varied.motion_of(who, Gesture(expr=expr, head=head, shift=shift, gaze=gaze))
    look = person_look(people.number) + 0.6 * statistics.randn(generator, 4 * B, LOOK)
    image = torch.empty(4 * B, 3, renderer.size_px, renderer.size_px, device=renderer.device)
    image[untouched] = varied.photos(who[untouched])
    image[~untouched] = varied.render(who[~untouched], motion.rows(~untouched), look[~untouched]).image
    anchor = _anchor(varied, who, motion, untouched)
    stored = (image.clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    return stored.unflatten(0, (B, 4)), head.unflatten(0, (B, 4)), anchor.unflatten(0, (B, 4))


def _anchor(renderer: Renderer, who: Tensor, motion: Motion, untouched: Tensor) -> Tensor:
    """Midpoint of the eyeballs `(N, 3)` in camera space [cm]."""
    people = renderer.cast.people
    moved = pose_head(renderer.cast.mesh, people, who, motion).eye_centre.mean(1)
    return torch.where(untouched[:, None], people.eye_centre[who].mean(1), moved)
