"""Training samples: source, driver and target pictures with the truth about their motion.

Shape legend: B samples, S picture side [px].
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from portrait_anim.training.synthetic import camera
from portrait_anim.training.synthetic import variation as vary
from portrait_anim.training.synthetic.flow import follow, view, visibility
from portrait_anim.training.synthetic.motion import Gesture, choose, concatenate
from portrait_anim.training.synthetic.mouth import LOOK, person_look
from portrait_anim.training.synthetic.posing import Motion, pose_head
from portrait_anim.training.synthetic.raster import interpolate, rasterize

if TYPE_CHECKING:
    from portrait_anim.training.synthetic.renderer import RenderedBatch, Renderer
    from portrait_anim.training.synthetic.variation import Variation

Split: TypeAlias = Literal["all", "train", "evaluation"]
HELD_OUT_EVERY: Final = 12  # identity numbers divisible by this are kept for evaluation
_CLEAN_YAW_DEG: Final = 15.0
_USABLE_YAW_DEG: Final = 25.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingBatch:
    """A batch of training samples.

    Attributes:
        source: `(B, 3, S, S)` uint8.
        target: `(B, 3, S, S)` uint8, the same person showing the driver's motion.
        driver: `(B, 3, S, S)` uint8, another person.
        flow: `(B, 2, S/2, S/2)` float16, `grid_sample` coordinates in the source of each target pixel.
        visible: `(B, 1, S/2, S/2)` uint8, 255 where the source shows it.
        forward: `(B, 2, S/2, S/2)` float16, `grid_sample` coordinates in the target of each source pixel.
        forward_trust: `(B, 1, S/2, S/2)` uint8, 255 where the source pixel is the photograph's.
        points: `(B, 7, S/4, S/4)` float16 of the source: camera xyz [cm], canonical xyz [cm], face mask.
        expr_src: `(B, 53)` semantic expression of the source.
        expr_drv: `(B, 53)` of driver and target.
        head_src: `(B, 3)` yaw, pitch, roll of the source [deg].
        head_tgt: `(B, 3)` of the target.
        head_drv: `(B, 3)` of the driver.
        gaze_src: `(B, 2)` gaze of the source [deg], right and down.
        gaze_drv: `(B, 2)` of driver and target.
        anchor_src: `(B, 3)` midpoint of the eyeballs in the source, camera space [cm].
        anchor_tgt: `(B, 3)` in the target.
        anchor_drv: `(B, 3)` in the driver.
        who: `(B,)` rows of source and target.
        other: `(B,)` rows of the driver.
        role: `(B, 2)` bool: the target is the untouched photograph, the source is.
    """

    source: Tensor
    target: Tensor
    driver: Tensor
    flow: Tensor
    visible: Tensor
    forward: Tensor
    forward_trust: Tensor
    points: Tensor
    expr_src: Tensor
    expr_drv: Tensor
    head_src: Tensor
    head_tgt: Tensor
    head_drv: Tensor
    gaze_src: Tensor
    gaze_drv: Tensor
    anchor_src: Tensor
    anchor_tgt: Tensor
    anchor_drv: Tensor
    who: Tensor
    other: Tensor
    role: Tensor

    def as_dict(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def usable_rows(renderer: Renderer) -> tuple[Tensor, Tensor]:
    """Rows that may be shown at all, and the clean ones: near frontal, mouth quiet, not cut by the photo edge.

    Args:
        renderer: Its split decides whether held-out identities are in or out.

    Returns:
        Two `(n,)` int64 tensors. A pool that would be empty holds everybody of the split.
    """
    people, names = renderer.cast.people, renderer.cast.mesh.expression_names
    held_out = people.number % HELD_OUT_EVERY == 0
    mine = {"all": torch.ones_like(held_out), "train": ~held_out, "evaluation": held_out}[renderer.split]
    shown = renderer.shown
    smile = shown[:, [names.index("mouthSmile_L"), names.index("mouthSmile_R")]].mean(1)
    usable = (people.yaw.abs() < _USABLE_YAW_DEG) & (people.fit_error < 4)
    quiet = (shown[:, names.index("jawOpen")] < 0.15) & (smile < 0.45)
    clean = usable & quiet & (people.yaw.abs() < _CLEAN_YAW_DEG) & (people.border.amax(1) < 0.3)
    pools = [(p & mine if bool((p & mine).any()) else mine).nonzero()[:, 0] for p in (usable, clean)]
    return pools[0], pools[1]


def draw_batch(
    renderer: Renderer,
    batch: int,
    generator: torch.Generator,
    *,
    photo_target: float,
    two_renders: float,
    varied: bool = True,
) -> TrainingBatch:
    """Draw training samples.

    With probability `photo_target` the untouched photograph is the target and the source is rendered, so that a network
    learns to output real pixels; with probability `two_renders` both are rendered; else the photograph is the source.
    The driver is another person with the target's expression, gaze and (nearly) head pose.

    Args:
        renderer: Draws the pictures; `supersample=1` is enough for training.
        batch: Number B of samples.
        generator: Source of all randomness, on the renderer's device.
        photo_target: Share of samples whose target is a photograph.
        two_renders: Share of samples without any photograph.
        varied: Whether drivers, and people without a photograph in their sample, get other shapes, skin and light.

    Returns:
        The samples.

    Raises:
        ValueError: If the shares are not probabilities, or the cast has fewer than two people.
    """
    if not 0 <= photo_target <= photo_target + two_renders <= 1:
        raise ValueError(f"expected shares that sum to at most 1, got {photo_target} and {two_renders}")
    if len(renderer.cast.people) < 2:
        raise ValueError("expected a cast of at least two people, for a source and another driver, got one")
    statistics = renderer.statistics
    role = statistics.rand(generator, batch)
    target_is_photo, source_is_photo = role < photo_target, role > photo_target + two_renders
    usable, clean = renderer.pools
    picked_clean, picked = statistics.pick(generator, clean, batch), statistics.pick(generator, usable, batch)
    who = torch.where(source_is_photo, picked_clean, picked)
    target = choose(target_is_photo, renderer.photographed(who), _random_gesture(renderer, who, generator))
    source = choose(source_is_photo, renderer.photographed(who), _random_gesture(renderer, who, generator))
    other = _choose_driver(renderer, usable, who, target.head[:, 0], generator)
    nudge = statistics.randn(generator, batch, 3) * statistics.vector(2.0, 1.5, 1.5)  # the driver's own small offset
    shift = statistics.shift(batch, generator)
    driver = Gesture(expr=target.expr, head=target.head + nudge, shift=shift, gaze=target.gaze)
    own = statistics.randn(generator, 2 * batch, LOOK) * 0.6  # source and target show one mouth, another one each time
    gestures, is_photo = (source, target, driver), (source_is_photo, target_is_photo)
    variation = vary.draw_variation(renderer.cast.people, torch.cat([who, other]), generator) if varied else None
    return render_samples(renderer, who, other, gestures, is_photo, own, variation)


def render_samples(
    renderer: Renderer,
    who: Tensor,
    other: Tensor,
    gestures: tuple[Gesture, Gesture, Gesture],
    is_photo: tuple[Tensor, Tensor],
    own: Tensor,
    variation: Variation | None = None,
) -> TrainingBatch:
    """Render the samples that gestures describe.

    Args:
        renderer: Draws the pictures.
        who: `(B,)` rows of source and target.
        other: `(B,)` rows of the driver.
        gestures: Of source, target and driver.
        is_photo: `(B,)` bool, whether the source is the untouched photograph, and whether the target is.
        own: `(2B, 12)` what the mouths of `who`, then of `other`, look like beyond what is theirs.
        variation: `2B` rows, how `who`, then `other`, differ from their photographs; nobody does when `None`. It is
            left out for `who` where the source or the target is a photograph.

    Returns:
        The samples.
    """
    source, target, driver = gestures
    source_is_photo, target_is_photo = is_photo
    batch = len(who)
    people = torch.cat([who, who, other])
    if variation is not None:
        pair, index = people[batch:], torch.arange(batch, device=who.device)
        anybody = torch.cat([~(source_is_photo | target_is_photo), torch.ones_like(source_is_photo)])
        variation = vary.choose(anybody, variation, vary.untouched(renderer.cast.people, pair))
        renderer = renderer.varied(people, variation.rows(torch.cat([index, index, index + batch])))
        people = torch.arange(3 * batch, device=who.device)
    motion = renderer.motion_of(people, concatenate([source, target, driver]))
    needed = torch.cat([~source_is_photo, ~target_is_photo, torch.ones_like(source_is_photo)])
    row = torch.where(needed, needed.long().cumsum(0) - 1, -1)  # row of each picture among the rendered ones
    look = person_look(renderer.cast.people.number[people]) + torch.cat([own[:batch], own])
    shown = needed.nonzero()[:, 0]
    frames = renderer.render(people[shown], motion.rows(shown), look[shown])
    image = renderer.photos(people[:batch]).repeat(3, 1, 1, 1)
    image[shown] = frames.image
    out = _assemble(renderer, people, (source, target, driver), motion, row, frames, _to_uint8(image))
    return replace(out, who=who, other=other)


def draw_samples(renderer: Renderer, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Samples by name, drawn in the usual proportions."""
    return renderer.sample(count, generator).as_dict()


def _assemble(
    renderer: Renderer,
    people: Tensor,
    gestures: tuple[Gesture, Gesture, Gesture],
    motion: Motion,
    row: Tensor,
    frames: RenderedBatch,
    image: Tensor,
) -> TrainingBatch:
    """Add the truth about geometry and correspondence to the pictures of a batch."""
    source, target, driver = gestures
    B = len(source)
    who, other = people[:B], people[2 * B :]
    from_view, to_view = view(renderer, who, row[:B], frames), view(renderer, who, row[B : 2 * B], frames)
    place = follow(from_view, to_view)
    visible = visibility(from_view, to_view, place)
    forward = follow(to_view, from_view)
    index = torch.arange(B, device=who.device)
    return TrainingBatch(
        source=image[:B],
        target=image[B : 2 * B],
        driver=image[2 * B :],
        flow=_half(renderer.window.to_grid(place)).half(),
        visible=_to_uint8(F.avg_pool2d(visible, 2)),
        forward=_half(renderer.window.to_grid(forward)).half(),
        forward_trust=_to_uint8(F.avg_pool2d(from_view.trusted, 2)),
        points=_points(renderer, who, motion.rows(index), row[:B] < 0).permute(0, 3, 1, 2).half(),
        expr_src=source.expr,
        expr_drv=driver.expr,
        head_src=source.head,
        head_tgt=target.head,
        head_drv=driver.head,
        gaze_src=source.gaze,
        gaze_drv=driver.gaze,
        anchor_src=_anchor(renderer, who, motion.rows(index), row[:B] < 0),
        anchor_tgt=_anchor(renderer, who, motion.rows(index + B), row[B : 2 * B] < 0),
        anchor_drv=_anchor(renderer, other, motion.rows(index + 2 * B), row[2 * B :] < 0),
        who=who,
        other=other,
        role=torch.stack([row[B : 2 * B] < 0, row[:B] < 0], 1),
    )


def _random_gesture(renderer: Renderer, who: Tensor, g: torch.Generator) -> Gesture:
    """A random gesture that the photographs of `who` can be turned into."""
    statistics, B = renderer.statistics, len(who)
    expr = statistics.expression(B, g)
    baked = renderer.shown[who] * (0.5 + 0.5 * statistics.rand(g, B, 1))  # a photographed smile cannot be undone well
    expr = expr + baked * (1 - expr)
    head = limit_turn(renderer.cast.people.yaw[who], statistics.head(B, g))
    return Gesture(expr=expr, head=head, shift=statistics.shift(B, g), gaze=statistics.gaze(B, g))


def limit_turn(photographed_yaw: Tensor, head: Tensor) -> Tensor:
    """Keep someone photographed from one side `(B,)` [deg] from being turned far to the other, `(B, 3)`."""
    yaw = head[:, 0]
    yaw = torch.where(
        photographed_yaw > 6,
        yaw.clamp(min=-12),
        torch.where(photographed_yaw < -6, yaw.clamp(max=12), yaw),
    )
    return torch.cat([yaw[:, None], head[:, 1:]], 1)


def _choose_driver(renderer: Renderer, pool: Tensor, who: Tensor, yaw: Tensor, g: torch.Generator) -> Tensor:
    """Another person `(B,)` whose photograph is near the wanted yaw `(B,)`: the best of four random ones."""
    candidates = renderer.statistics.pick(g, pool, len(who), 4)
    count = len(renderer.cast.people)
    candidates = torch.where(candidates == who[:, None], (candidates + 1) % count, candidates)
    miss = (renderer.cast.people.yaw[candidates] - yaw[:, None]).abs()
    return candidates.gather(1, miss.argmin(1, keepdim=True))[:, 0]


def _points(renderer: Renderer, who: Tensor, motion: Motion, is_photo: Tensor) -> Tensor:
    """Camera xyz, canonical xyz and mask of the face in each picture, `(B, S/4, S/4, 7)`.

    They belong to the middle of the upper left 2 x 2 of every 4 x 4 pixels: pixel (2i, 2j) of a picture of half the
    size.
    """
    mesh, Q = renderer.cast.mesh, renderer.size_px // 4
    posed = pose_head(mesh, renderer.cast.people, who, motion).vertices
    X = torch.where(is_photo[:, None, None], renderer.cast.people.vertices[who], posed)
    xy = renderer.window.to_pixels(camera.project(X), renderer.size_px)
    xy = (xy + 1) / 4  # pixel q of the quarter has its centre at 4 q + 1 of the picture
    ids, equations = rasterize(xy, -X[..., 2], mesh.tris, (Q, Q), plane=mesh.plane, planes=2)
    canonical = mesh.neutral.expand(len(who), -1, -1)
    values = torch.cat([X, canonical, torch.ones_like(X[..., :1])], -1)
    return interpolate(values, ids[:, 0], equations, mesh.tris)


def _anchor(renderer: Renderer, who: Tensor, motion: Motion, is_photo: Tensor) -> Tensor:
    """Midpoint of the eyeballs `(B, 3)` in camera space [cm]."""
    people = renderer.cast.people
    rest = people.eye_centre[who].mean(1)
    moved = pose_head(renderer.cast.mesh, people, who, motion).eye_centre.mean(1)
    return torch.where(is_photo[:, None], rest, moved)


def _half(values: Tensor) -> Tensor:
    """`(B, S, S, C)` to `(B, C, S/2, S/2)` means of 2 x 2 pixels."""
    return F.avg_pool2d(values.permute(0, 3, 1, 2), 2)


def _to_uint8(values: Tensor) -> Tensor:
    """[0, 1] to uint8 with rounding."""
    return (values.clamp(0, 1) * 255 + 0.5).to(torch.uint8)
