"""Eyeballs: one ray-sphere intersection per pixel of the lid opening, looked up in an angular texture."""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from portrait_anim.training.synthetic import camera
from portrait_anim.training.synthetic.mesh import EYE_LEFT, EYE_RIGHT
from portrait_anim.training.synthetic.people import People
from portrait_anim.training.synthetic.posing import Motion, PosedHead

EYE_TEXTURE_HALF_ANGLE: Final = math.radians(80)
_STILL_DEG: Final = 2.0  # a gaze change below this keeps the eye comparable with the photograph


def paint_eyes(
    people: People,
    textures: Tensor,
    who: Tensor,
    motion: Motion,
    head: PosedHead,
    part: Tensor,
    pixels: Tensor,
    colour: Tensor,
    attributes: Tensor,
) -> None:
    """Paint the pixels of both lid openings, in place.

    Args:
        people: Everybody.
        textures: `(B, 2, Q, Q, 3)` uint8 angular eye textures of `who`.
        who: `(B,)` rows.
        motion: What they show.
        head: Posed heads.
        part: `(B, R, R)` int8 mesh part per pixel.
        pixels: `(R, R, 2)` pixel centres [photo units].
        colour: `(B, 3, R, R)` colours, written where an eye is.
        attributes: `(B, R, R, 11)`; the first three channels (position in the photo, trust) are written there.
    """
    b, y, x = cell = ((part == EYE_LEFT) | (part == EYE_RIGHT)).nonzero(as_tuple=True)
    if len(b) == 0:
        return
    side = (part[cell] == EYE_RIGHT).long()
    centre, radius = head.eye_centre[b, side], people.eye_radius[who][b, side]
    normal = F.normalize(_hit_sphere(pixels[y, x], centre, radius) - centre, dim=1)
    no_roll = torch.zeros_like(motion.gaze[:, 0])
    turn = motion.rotation @ camera.euler(motion.gaze[:, 0], motion.gaze[:, 1], no_roll)  # sphere to camera
    at_rest = torch.einsum("nj,njk->nk", normal, turn[b])  # direction in the photograph
    local = torch.einsum("nj,njk->nk", at_rest, people.eye_frame[who][b, side])
    colour.permute(0, 2, 3, 1)[cell] = _sample_angular(textures, b, side, local)
    still = (motion.gaze.abs().sum(1, keepdim=True) < _STILL_DEG).float()[b]
    place = camera.project(people.eye_centre[who][b, side] + radius[:, None] * at_rest)
    attributes[b, y, x, :3] = torch.cat([place, still], 1)


def _hit_sphere(xy: Tensor, centre: Tensor, radius: Tensor) -> Tensor:
    """Nearest points `(n, 3)` where rays of photo positions `(n, 2)` meet spheres (closest approach if none)."""
    ray = camera.unproject(xy, -torch.ones_like(xy[:, 0]))
    ray = ray / ray.norm(dim=1, keepdim=True)
    along = (ray * centre).sum(1)
    depth = (along**2 - (centre * centre).sum(1) + radius * radius).clamp(min=0).sqrt()
    hit: Tensor = ray * (along - depth)[:, None]
    return hit


def _sample_angular(textures: Tensor, row: Tensor, side: Tensor, local: Tensor) -> Tensor:
    """Bilinear colours `(n, 3)` in [0, 1] of directions `(n, 3)` in the frame (right, up, gaze) of an eye."""
    angle = torch.arccos(local[:, 2].clamp(-1, 1))
    scale = angle / local[:, :2].norm(dim=1).clamp(min=1e-6) / EYE_TEXTURE_HALF_ANGLE
    size = textures.shape[2]
    u, v = (((1 + s) / 2 * size - 0.5).clamp(0, size - 1.001) for s in (local[:, 0] * scale, -local[:, 1] * scale))
    u0, v0 = u.long(), v.long()
    fu, fv = (u - u0)[:, None], (v - v0)[:, None]

    def tap(right: int, down: int) -> Tensor:
        texel: Tensor = textures[row, side, v0 + down, u0 + right]
        return texel.float() / 255

    return torch.lerp(torch.lerp(tap(0, 0), tap(1, 0), fu), torch.lerp(tap(0, 1), tap(1, 1), fu), fv)
