"""The renderer: pictures of people who do not exist, with any expression, head pose and gaze.

Layers from back to front: background plate, hair/head/torso (a smooth warp of the photograph), face mesh with a soft
edge, mouth interior, eyeballs. Everything is looked up in the photograph by its source position, so that the exact
backward map (rendered pixel to photo position) is a by-product.

Shape legend: B pictures, V vertices, G grid nodes per side, W picture side [px], R = W * supersample.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from portrait_anim.training.synthetic import camera, layers
from portrait_anim.training.synthetic.eyes import paint_eyes
from portrait_anim.training.synthetic.glasses import FramePose, frame_poses, paint_glasses
from portrait_anim.training.synthetic.lids import lash_shade
from portrait_anim.training.synthetic.mesh import EYE_LEFT, EYE_RIGHT, SOCKET
from portrait_anim.training.synthetic.motion import Gesture, MotionStatistics
from portrait_anim.training.synthetic.mouth import person_look, shade_mouth
from portrait_anim.training.synthetic.pack import Pack
from portrait_anim.training.synthetic.people import Cast, load_cast
from portrait_anim.training.synthetic.posing import (
    Motion,
    PosedHead,
    grid_nodes,
    motion_of,
    pose_grid,
    pose_head,
)
from portrait_anim.training.synthetic.raster import interpolate, interpolate_at, rasterize
from portrait_anim.training.synthetic.shading import box_blur, soften_seams
from portrait_anim.training.synthetic.textures import colours
from portrait_anim.training.synthetic.variation import Variation, recolour, vary
from portrait_anim.training.synthetic.wrinkles import fold_depth, fold_shade
from portrait_anim.types import PathLike

if TYPE_CHECKING:
    from portrait_anim.training.synthetic.samples import Split, TrainingBatch

DEFAULT_WINDOW: Final = camera.Window()


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedBatch:
    """Pictures and how they correspond to the photographs.

    Attributes:
        image: `(B, 3, W, W)` in [0, 1].
        back: `(B, W, W, 2)` position in the photograph of what each pixel shows [photo units].
        trusted: `(B, 1, W, W)` how far the photograph really shows it, 0 to 1.
        grid: `(B, G, G, 2)` nodes of the hair grid in the picture [photo units].
        vertices: `(B, V, 2)` mesh vertices in the picture [photo units].
        glasses: What people wear `(B, 12)` and where it is in the picture and in the photograph, if anybody does.
    """

    image: Tensor
    back: Tensor
    trusted: Tensor
    grid: Tensor
    vertices: Tensor
    glasses: tuple[Tensor, FramePose, FramePose] | None = None


class Renderer:
    """Renders the people of a cast.

    Args:
        cast: Whom it can show.
        size_px: Side W of the pictures.
        supersample: Samples per pixel in each direction.
        split: Which identities `sample` draws from: `"all"`, `"train"` or `"evaluation"` (numbers divisible by 12).
        window: Part of the photo frame that pictures show.
        mirror: How far what the photograph cuts off continues, mirrored, beside and above it [photo units]; then it
            fades out over 60 and 50. Negative values fade it out inside the photograph.

    Raises:
        ValueError: If a size is too small.
    """

    def __init__(
        self,
        cast: Cast,
        *,
        size_px: int = 256,
        supersample: int = 1,
        split: Split = "all",
        window: camera.Window = DEFAULT_WINDOW,
        mirror: tuple[float, float] = (60.0, 30.0),
    ) -> None:
        if size_px < 16 or supersample < 1:
            raise ValueError(f"expected size_px >= 16 and supersample >= 1, got {size_px} and {supersample}")
        self.cast = cast
        self.size_px = size_px
        self.supersample = supersample
        self.split: Split = split
        self.window = window
        self.mirror = mirror
        self.statistics = MotionStatistics(cast.mesh.expression_names, cast.device)
        expression = cast.people.expression
        self.shown = expression * self.statistics.shown  # what each photograph itself expresses (N, 53)
        self.resting = expression * (1 - self.statistics.shown)  # the rest of a fit counts as identity
        self.nodes, self.grid_tris = grid_nodes(cast.people.shallow.shape[-1], cast.device)
        self.pixels = window.pixel_centres(size_px, cast.device)
        self.fine_pixels = window.pixel_centres(size_px * supersample, cast.device)

    @classmethod
    def from_pack(
        cls,
        pack: Pack | PathLike | None,
        *,
        size_px: int = 256,
        supersample: int = 1,
        device: str = "cpu",
        numbers: Sequence[int] | None = None,
        split: Split = "all",
    ) -> Renderer:
        """Load people from a data pack and build a renderer of them.

        Args:
            pack: A loaded pack or its path.
            size_px: Side of the pictures.
            supersample: Samples per pixel in each direction.
            device: Torch device name.
            numbers: Identity numbers to load; everybody when `None`.
            split: Which identities `sample` draws from.

        Returns:
            The renderer.

        Raises:
            InputError: If the pack is absent or not a pack, or lacks one of the numbers.
        """
        return cls(
            load_cast(pack, numbers=numbers, device=device),
            size_px=size_px,
            supersample=supersample,
            split=split,
        )

    @property
    def device(self) -> torch.device:
        """Where pictures are made."""
        return self.cast.device

    @functools.cached_property
    def pools(self) -> tuple[Tensor, Tensor]:
        """Rows that may be shown at all, and the clean ones; see `samples.usable_rows`. Found once: it waits."""
        from portrait_anim.training.synthetic.samples import usable_rows

        return usable_rows(self)

    def motion_of(self, who: Tensor, gesture: Gesture) -> Motion:
        """Motion of the people `who` `(B,)` that shows an identity-free gesture."""
        return motion_of(self.cast.mesh, self.cast.people, who, gesture, self.resting)

    def photographed(self, who: Tensor) -> Gesture:
        """What the untouched photographs of `who` `(B,)` show."""
        people = self.cast.people
        return Gesture(
            expr=self.shown[who],
            head=camera.angles(people.rotation[who]),
            shift=torch.zeros_like(people.position[who]),
            gaze=people.gaze[who],
        )

    @torch.no_grad()
    def photos(self, who: Tensor) -> Tensor:
        """Untouched photographs of `who` `(B,)`, cropped like the renders, `(B, 3, W, W)` in [0, 1]."""
        where = self.fine_pixels.expand(len(who), *self.fine_pixels.shape)
        photo = colours(self.cast.textures.photo, self.cast.pictures_of(who))
        return F.avg_pool2d(camera.look_up(photo, where), self.supersample)

    def varied(self, who: Tensor, variation: Variation) -> Renderer:
        """A renderer whose people are `who` `(N,)` with a variation, one row each; photographs stay as they are.

        Args:
            who: Rows of this renderer's cast.
            variation: What is different, row by row; see `variation.draw_variation`.

        Returns:
            The renderer; its row n is the varied person `who[n]`.

        Raises:
            ValueError: If there are not as many rows.
        """
        if len(who) != len(variation):
            raise ValueError(f"expected a variation of {len(who)} people, got one of {len(variation)}")
        out = copy.copy(self)
        out.__dict__.pop("pools", None)  # of the people before
        out.cast = replace(
            self.cast,
            people=vary(self.cast.people, who, variation),
            pictures=self.cast.pictures_of(who),
            variation=variation,
        )
        out.shown, out.resting = self.shown[who], self.resting[who]
        return out

    @torch.no_grad()
    def render(self, who: Tensor, motion: Motion, look: Tensor | None = None) -> RenderedBatch:
        """Render people.

        Args:
            who: `(B,)` int64 rows of the cast.
            motion: What they show.
            look: `(B, 12)` how their mouths look inside, about standard normal; their own when `None`.

        Returns:
            Pictures and correspondence.
        """
        mesh, people, textures = self.cast.mesh, self.cast.people, self.cast.textures
        pictures = self.cast.pictures_of(who)
        # 1. geometry and which triangle every pixel shows
        head = pose_head(mesh, people, who, motion)
        xy = camera.project(head.vertices)
        R = len(self.fine_pixels)
        depth = -head.vertices[..., 2]
        ids, equations = rasterize(self.window.to_pixels(xy, R), depth, mesh.tris, (R, R), plane=mesh.plane, planes=2)
        part = torch.where(ids[:, 0] >= 0, mesh.part[ids[:, 0]], -1)  # (B, R, R)
        # 2. background plate, hair, head and torso
        grid, grid_z = pose_grid(mesh, people, who, motion, head, self.nodes)
        back, covered = layers.invert_grid(
            self.window, textures, pictures, self.nodes, self.grid_tris, grid, grid_z, self.pixels
        )
        image, alpha = layers.paint_background(textures, pictures, back, covered, self.fine_pixels, self.mirror)
        # 3. face, mouth interior and eyes
        colour, over, attributes = self._paint_face(
            who, motion, head, ids, equations, part, person_look(people.number[who]) if look is None else look
        )
        image = torch.lerp(image, colour.clamp(0, 1), over)
        # 4. correspondence at picture resolution
        source, trusted = self._correspondence(who, back, alpha, over, attributes, part)
        glasses = self._put_on_glasses(who, motion, head, image, source, trusted)
        image = F.avg_pool2d(image, self.supersample)
        if self.cast.variation is not None:
            image = self._recolour(who, image, source, torch.maximum(alpha, over), part)
        return RenderedBatch(image=image, back=source, trusted=trusted, grid=grid, vertices=xy, glasses=glasses)

    def sample(
        self,
        batch: int,
        generator: torch.Generator,
        photo_target: float = 0.5,
        two_renders: float = 0.15,
        varied: bool = True,
    ) -> TrainingBatch:
        """Draw a training batch; see `samples.draw_batch`."""
        from portrait_anim.training.synthetic.samples import draw_batch

        return draw_batch(self, batch, generator, photo_target=photo_target, two_renders=two_renders, varied=varied)

    def _paint_face(
        self, who: Tensor, motion: Motion, head: PosedHead, ids: Tensor, equations: Tensor, part: Tensor, look: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Colour `(B, 3, R, R)`, alpha `(B, 1, R, R)` and attributes `(B, R, R, 11)` of the face layer."""
        mesh, people, textures = self.cast.mesh, self.cast.people, self.cast.textures
        mouth = part == SOCKET
        eyes = (part == EYE_LEFT) | (part == EYE_RIGHT)
        a = interpolate(layers.skin_attributes(mesh, people, who, head), ids[:, 0], equations, mesh.tris)
        deep = torch.where(mouth, ids[:, 1], -1)
        row, y, x = cell = (deep >= 0).nonzero(as_tuple=True)
        a[cell] = interpolate_at(layers.inner_attributes(people, who), deep[cell], (row, y, x), equations, mesh.tris)
        values = interpolate_at(
            layers.mouth_values(mesh, people, who, head), deep[cell], (row, y, x), equations, mesh.tris
        )
        trust, fill, light, alpha, lash, place = torch.split(a[..., 2:].permute(0, 3, 1, 2), [1, 3, 1, 1, 1, 2], dim=1)
        shade = torch.where(ids[:, :1] >= 0, lash_shade(lash), 1.0)
        change = motion.expr - people.expression[who]
        light = light * fold_shade(mesh.folds, change, fold_depth(people.number[who]), place)
        photo = colours(textures.photo, self.cast.pictures_of(who))
        colour = torch.addcmul(fill, camera.look_up(photo, a[..., :2]), trust) * (light * shade)
        flesh = shade_mouth(values, look[row], people.mouth_light[who][row], people.enamel[who][row])
        colour[row, :, y, x] += flesh * (1 - a[cell][:, 2:3])
        blurred = box_blur(mouth[:, None].float(), 2 * (mouth.shape[-1] // 100) + 1)
        shadow = camera.smoothstep((blurred - 0.25) / 0.75) * 0.5 + 0.5  # darker towards the lips
        colour = torch.where(mouth[:, None], colour * shadow, colour).contiguous()
        over = torch.where((mouth | eyes)[:, None], 1.0, alpha)
        paint_eyes(
            people, textures.eye[self.cast.pictures_of(who)], who, motion, head, part, self.fine_pixels, colour, a
        )
        teeth = torch.zeros_like(mouth)
        teeth[cell] = values[:, 0] > 0.5
        return soften_seams(colour, torch.stack([mouth | eyes, teeth], 1).float(), shade), over, a

    def _put_on_glasses(
        self, who: Tensor, motion: Motion, head: PosedHead, image: Tensor, source: Tensor, trusted: Tensor
    ) -> tuple[Tensor, FramePose, FramePose] | None:
        """Paint the glasses of the cast's variation over pictures and write their correspondence, in place."""
        if self.cast.variation is None:
            return None
        worn = self.cast.variation.glasses[who]
        posed, rest = frame_poses(self.cast.people, who, motion, head, worn)
        k = (worn[:, 0] > 0).nonzero()[:, 0]
        if len(k):
            unit_cm = self.window.span / len(self.fine_pixels) / 50
            painted = image[k]
            shown, place = paint_glasses(painted, worn[k], posed.rows(k), self.fine_pixels, unit_cm)
            image[k] = painted
            j = slice(self.supersample // 2, None, self.supersample)
            b, y, x = cell = (shown[:, j, j] > 0.5).nonzero(as_tuple=True)
            source[k[b], y, x] = rest.rows(k).point(b, place[:, j, j][cell])
            trusted[k[b], 0, y, x] = 1.0
        return worn, posed, rest

    def _recolour(self, who: Tensor, image: Tensor, source: Tensor, person: Tensor, part: Tensor) -> Tensor:
        """Pictures `(B, 3, W, W)` in the colours of the cast's variation."""
        assert self.cast.variation is not None
        opening = ((part == SOCKET) | (part == EYE_LEFT) | (part == EYE_RIGHT)).to(image)[:, None]
        person, opening = (F.avg_pool2d(mask, self.supersample) for mask in (person, opening))
        skin = self.cast.people.skin[who]
        return recolour(self.cast.variation.rows(who), image, source, person, opening, skin)

    def _correspondence(
        self, who: Tensor, back: Tensor, alpha: Tensor, over: Tensor, attributes: Tensor, part: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Position in the photograph `(B, W, W, 2)` and trust `(B, 1, W, W)` per picture pixel."""
        k = slice(self.supersample // 2, None, self.supersample)
        face = over[:, 0, k, k] > 0.5
        person = alpha[:, 0, k, k] > 0.5
        here = self.pixels.expand(len(who), *self.pixels.shape)
        layer_alpha = camera.look_up(colours(self.cast.textures.layer, self.cast.pictures_of(who))[:, 3:], here)[:, 0]
        was_background = (layer_alpha < 0.5).float()
        face_source = self._at_centres(attributes[..., :2], part)
        source = torch.where(face[..., None], face_source, torch.where(person[..., None], back, here))
        trusted = torch.where(face, attributes[:, k, k, 2], torch.where(person, 1.0, was_background))
        return source, trusted[:, None]

    def _at_centres(self, values: Tensor, part: Tensor) -> Tensor:
        """Values `(B, R, R, C)` at picture pixel centres: mean of the two diagonal neighbours of the same part."""
        k = slice(self.supersample // 2, None, self.supersample)
        if self.supersample % 2:
            return values[:, k, k]
        j = slice(self.supersample // 2 - 1, None, self.supersample)
        same = (part[:, j, j] == part[:, k, k])[..., None]
        return torch.where(same, (values[:, j, j] + values[:, k, k]) * 0.5, values[:, k, k])
