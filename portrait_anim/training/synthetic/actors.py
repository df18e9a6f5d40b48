"""Actors of our own: people who are nobody in the pack.

An actor starts from the photograph of one person who does not exist. The head is reshaped towards a mixture of other
people and away from all of them at random, the skin is blended with that of donors in mesh coordinates, the eyes come
from a donor, light and colour are graded and the background is replaced or blurred.

Shape legend: S photo side [px], V mesh vertices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from portrait_anim.training.synthetic import camera
from portrait_anim.training.synthetic.mesh import SKIN
from portrait_anim.training.synthetic.people import Cast
from portrait_anim.training.synthetic.raster import interpolate, rasterize
from portrait_anim.training.synthetic.shading import gaussian_blur, luminance, vertex_normals
from portrait_anim.training.synthetic.textures import Textures, colours

_TONE_SIGMA: Final = 0.05  # share of the photo side below which tone is taken from the base person
_PORE_SIGMA: Final = 0.0035  # share of the photo side above which detail is taken from the base person alone
_PORE_GAIN: Final = 1.3  # blending and resampling soften; this takes some of it back
_BACKDROP_SIGMA: Final = 0.06  # share of the photo side over which an old background is blurred


@dataclass(frozen=True, kw_only=True, slots=True)
class Donor:
    """Somebody who lends features to an actor.

    Attributes:
        number: Identity number in the pack.
        skin: Share of the actor's skin detail, 0 to 1.
        shape: Share of the actor's head shape; may be negative to move away from that person.
    """

    number: int
    skin: float = 0.0
    shape: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ActorRecipe:
    """How an actor is made.

    Attributes:
        base: Identity number of the person who lends hair, clothes and pose.
        donors: Others who lend skin and shape; the first also lends the eyes.
        shape_noise: Standard deviation of a random change of every shape coefficient.
        seed: Seed of that change.
        gain: Factors on red, green and blue of the person.
        gamma: Exponent on the person's brightness; above 1 darkens.
        relighting: How strongly the light changes when the head turns, 0 to 1; less hides the limits of the light fit.
        backdrop: Red, green and blue of a new background in [0, 1]; the base's own, blurred beyond recognition, when
            `None` (edges of hair carry its colour, so that it fits best).
    """

    base: int
    donors: tuple[Donor, ...] = ()
    shape_noise: float = 0.0
    seed: int = 0
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    relighting: float = 0.55
    backdrop: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        total = sum(d.skin for d in self.donors)
        if any(d.skin < 0 for d in self.donors) or total > 1:
            raise ValueError(f"expected skin shares of donors from 0 to 1 in sum, got {total}")

    @property
    def numbers(self) -> tuple[int, ...]:
        """Identity numbers to load, base first."""
        return (self.base, *(d.number for d in self.donors))


@torch.no_grad()
def make_actor(cast: Cast, recipe: ActorRecipe) -> Cast:
    """Make a cast of one actor.

    Args:
        cast: The people of `recipe.numbers`, in that order.
        recipe: What to do with them.

    Returns:
        A cast whose only person is the actor.

    Raises:
        ValueError: If the cast does not hold exactly those people.
    """
    have = tuple(int(n) for n in cast.people.number)
    if have != recipe.numbers:
        raise ValueError(f"expected a cast of the people {recipe.numbers} of the recipe in that order, got {have}")
    first = torch.zeros(1, dtype=torch.long, device=cast.device)
    base = cast.people.rows(first)
    directional = base.light.new_tensor([1.0] + [recipe.relighting] * 8)
    light = base.light * directional
    people = replace(
        base,
        number=-torch.ones_like(first),
        light=light,
        lamp=light,
        shade=luminance(vertex_normals(base.vertices, cast.mesh.normal_tris), light),
        reshape=_shape_change(cast, recipe)[None],
        fill=_grade(base.fill, recipe),
    )
    return Cast(mesh=cast.mesh, people=people, textures=_actor_textures(cast, recipe))


def _shape_change(cast: Cast, recipe: ActorRecipe) -> Tensor:
    """Identity coefficients `(100,)` to add to the base person."""
    identity = cast.people.identity
    change = torch.zeros_like(identity[0])
    for row, donor in enumerate(recipe.donors, start=1):
        change = change + donor.shape * (identity[row] - identity[0])
    generator = torch.Generator().manual_seed(recipe.seed)
    noise = torch.randn(len(change), generator=generator).to(change)
    return change + recipe.shape_noise * noise


def _actor_textures(cast: Cast, recipe: ActorRecipe) -> Textures:
    """Pictures of the actor."""
    textures = cast.textures
    photo = _blend_skin(cast, recipe)
    layer = colours(textures.layer, torch.zeros(1, dtype=torch.long, device=cast.device))
    layer = torch.cat([_grade_planes(layer[:, :3], recipe), layer[:, 3:]], 1)
    plate = gaussian_blur(textures.plate[:1].float() / 255, _BACKDROP_SIGMA * photo.shape[-1])
    if recipe.backdrop is not None:
        plate = _backdrop(recipe.backdrop, plate.shape[-1], cast.device)
    eye = textures.eye[1:2] if recipe.donors else textures.eye[:1]
    eye = _match_brightness(eye.float() / 255, textures.eye[:1].float() / 255)
    return Textures(
        photo=_to_uint8(_grade_planes(photo, recipe)),
        layer=_to_uint8(layer),
        plate=_to_uint8(plate),
        eye=_to_uint8(eye),
    )


def _blend_skin(cast: Cast, recipe: ActorRecipe) -> Tensor:
    """The base photograph `(1, 3, S, S)` with the skin detail of the donors, carried over by the mesh.

    Tone and light (coarse) and pores (fine) stay those of the base; what lies between is blended.
    """
    photos = colours(cast.textures.photo, torch.arange(len(cast.people), device=cast.device))
    base = photos[:1]
    side = base.shape[-1]
    out = base.clone()
    fine = _PORE_GAIN * (base - gaussian_blur(base, _PORE_SIGMA * side))
    for row, donor in enumerate(recipe.donors, start=1):
        if donor.skin == 0:
            continue
        xy, mask = _carry(cast, row, side)
        theirs = camera.look_up(photos[row : row + 1], xy)
        tone = _tone(base, mask, side) / _tone(theirs, mask, side).clamp(min=0.02)
        smooth = gaussian_blur(theirs * tone, _PORE_SIGMA * side) + fine
        out = out + donor.skin * mask * (smooth - base)
    return out.clamp(0, 1)


def _carry(cast: Cast, row: int, side: int) -> tuple[Tensor, Tensor]:
    """Where a donor's photograph shows what the base's does, `(1, S, S, 2)`, and the mask `(1, 1, S, S)`."""
    mesh, people = cast.mesh, cast.people
    vertices = people.vertices[:1]
    xy = camera.project(vertices) * (side / camera.FRAME)
    ids, equations = rasterize(xy, -vertices[..., 2], mesh.tris, (side, side), plane=mesh.plane, planes=2)
    shown = (people.visible[row] * people.visible[0] * mesh.weights["alpha"])[None, :, None]
    values = torch.cat([camera.project(people.vertices[row : row + 1]), shown], -1)
    a = interpolate(values, ids[:, 0], equations, mesh.tris)
    is_skin = (ids[:, 0] >= 0) & (mesh.part[ids[:, 0]] == SKIN)
    mask = (a[..., 2] * is_skin)[:, None]
    return a[..., :2], gaussian_blur(mask, 1.0)


def _tone(image: Tensor, mask: Tensor, side: int) -> Tensor:
    """Coarse colour of the masked part of a picture, `(1, 3, S, S)`."""
    sigma = _TONE_SIGMA * side
    return gaussian_blur(image * mask, sigma) / gaussian_blur(mask, sigma).clamp(min=1e-3)


def _grade(colour: Tensor, recipe: ActorRecipe) -> Tensor:
    """Apply gain and gamma to colours `(..., 3)` in [0, 1]."""
    gain = torch.tensor(recipe.gain, dtype=colour.dtype, device=colour.device)
    return (colour.clamp(0, 1) ** recipe.gamma * gain).clamp(0, 1)


def _grade_planes(image: Tensor, recipe: ActorRecipe) -> Tensor:
    """Apply gain and gamma to `(1, 3, H, W)`."""
    return _grade(image.permute(0, 2, 3, 1), recipe).permute(0, 3, 1, 2)


def _match_brightness(eye: Tensor, wanted: Tensor) -> Tensor:
    """Scale eye textures `(1, 2, Q, Q, 3)` to the mean colour of others."""
    mean, goal = eye.mean((2, 3), keepdim=True), wanted.mean((2, 3), keepdim=True)
    return (eye * (goal / mean.clamp(min=0.02)).clamp(0.6, 1.6)).clamp(0, 1)


def _backdrop(rgb: tuple[float, float, float], side: int, device: torch.device) -> Tensor:
    """A plain studio background `(1, 3, S, S)`: brighter behind the head, darker in the corners."""
    line = (torch.arange(side, device=device) + 0.5) / side
    y, x = torch.meshgrid(line, line, indexing="ij")
    distance = ((x - 0.45) ** 2 + (0.8 * (y - 0.4)) ** 2).sqrt()
    shade = 1.12 - 0.42 * camera.smoothstep(distance / 0.75)
    return (torch.tensor(rgb, device=device)[None, :, None, None] * shade).clamp(0, 1)


def _to_uint8(values: Tensor) -> Tensor:
    """[0, 1] to uint8 with rounding."""
    return (values.clamp(0, 1) * 255 + 0.5).to(torch.uint8)
