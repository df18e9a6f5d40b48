"""Glasses that people of the pack put on: a rigid frame in front of the eyes, drawn analytically.

The front of a frame lies in a plane of the head and the temples are straight rods, so that a pixel is answered by one
intersection of its ray with that plane. Frames follow the head and nothing else: they do not bend with the skin. Their
correspondence is the same plane in the pose of the photograph, as if the photograph showed it.

Shape legend: B pictures, R picture side [px], n pixels near a frame, P = 12 numbers of a pair of glasses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from portrait_anim.training.synthetic import camera

if TYPE_CHECKING:
    from portrait_anim.training.synthetic.people import People
    from portrait_anim.training.synthetic.posing import Motion, PosedHead

LOOKS_LIKE_GLASSES: Final = 0.20  # on 70 labelled photographs: 14 of 16 with glasses above, all 54 without below
SHARE: Final = 0.22  # of the people who may wear any
PARAMETERS: Final = 12
_IN_FRONT_CM: Final = 2.45  # of the middle of the eyeballs
_TEMPLE_CM: Final = 6.0  # visible length of a temple, before hair and ears
_REACH_CM: Final = (3.0, 1.0)  # how far pixels beside and above the lenses are looked at
# style: half width, half height [cm], squareness, rim [cm], lower rim (1 or 0)
_STYLES: Final = (
    (2.45, 1.55, 3.5, 0.26, 1.0),
    (2.35, 1.75, 2.4, 0.14, 1.0),
    (2.20, 2.05, 2.0, 0.10, 1.0),
    (2.50, 1.30, 4.5, 0.20, 1.0),
    (2.45, 1.40, 3.5, 0.18, 0.15),
    (2.60, 1.95, 2.8, 0.34, 1.0),
)
_COLOURS: Final = (
    (0.05, 0.05, 0.06), (0.10, 0.07, 0.05), (0.30, 0.17, 0.09), (0.45, 0.42, 0.40), (0.62, 0.50, 0.30),
    (0.12, 0.10, 0.25), (0.40, 0.08, 0.10),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class FramePose:
    """Where frames are, camera space [cm].

    Attributes:
        centre: `(B, 3)` middle of the front.
        axes: `(B, 3, 3)` columns: to the subject's left, up, forward.
    """

    centre: Tensor
    axes: Tensor

    def rows(self, index: Tensor) -> FramePose:
        """The given rows."""
        return FramePose(centre=self.centre[index], axes=self.axes[index])

    def point(self, row: Tensor, place: Tensor) -> Tensor:
        """Photo-frame positions `(n, 2)` of places `(n, 2)` [cm] on the fronts of the given rows `(n,)`."""
        return camera.project(self.centre[row] + (self.axes[row, :, :2] @ place[..., None])[..., 0])

    def place(self, xy: Tensor) -> Tensor:
        """Places `(B, H, W, 2)` [cm] on the fronts that photo-frame positions `(B, H, W, 2)` show."""
        ray = camera.unproject(xy, -torch.ones_like(xy[..., 0]))
        forward = self.axes[:, None, None, :, 2]
        depth = (self.centre * self.axes[..., 2]).sum(1)[:, None, None] / (ray * forward).sum(-1).clamp(max=-1e-3)
        hit = ray * depth[..., None] - self.centre[:, None, None]
        return torch.einsum("bhwc,bck->bhwk", hit, self.axes[..., :2])


def no_glasses(N: int, like: Tensor) -> Tensor:
    """Numbers `(N, 12)` of people without glasses."""
    return like.new_zeros(N, PARAMETERS)


def draw_glasses(N: int, generator: torch.Generator, device: torch.device, share: float = SHARE) -> Tensor:
    """Draw who wears what.

    Args:
        N: Number of people.
        generator: Source of all randomness.
        device: Its device.
        share: Share of people with glasses, 0 to 1.

    Returns:
        `(N, 12)`: worn (1 or 0), half width, half height [cm], squareness, rim [cm], lower rim, red, green, blue,
        reflection, tint of the lenses, height above the eyes [cm].
    """

    def pick(table: tuple[tuple[float, ...], ...]) -> Tensor:
        rows = camera.constant(table, device)
        return rows[torch.randint(len(table), (N,), generator=generator, device=device)]

    noise = torch.rand(N, 8, generator=generator, device=device)
    style, colour = pick(_STYLES), pick(_COLOURS)
    size = style[:, :4] * (0.92 + 0.16 * noise[:, :4])
    worn = (noise[:, 4:5] < share).to(style)
    tint = torch.where(noise[:, 5:6] < 0.1, 0.35, 0.06) * noise[:, 6:7]
    other = torch.cat([0.16 * noise[:, 7:8] ** 2, tint, 0.3 * noise[:, 6:7] - 0.35], 1)
    return torch.cat([worn, size, style[:, 4:], colour, other], 1)


def frame_poses(
    people: People, who: Tensor, motion: Motion, head: PosedHead, glasses: Tensor
) -> tuple[FramePose, FramePose]:
    """Frames in the pose of the picture and in that of the photograph.

    Args:
        people: Everybody.
        who: `(B,)` rows.
        motion: What they show.
        head: Posed heads.
        glasses: `(B, 12)` as `draw_glasses` gave them.
    """
    up, out = glasses[:, 11:], torch.full_like(glasses[:, 11:], _IN_FRONT_CM)
    own = people.rotation[who]
    offset = (own @ torch.cat([torch.zeros_like(up), up, out], 1)[..., None])[..., 0]
    pivot, turn = people.pivot[who], motion.rotation
    eyes = head.eye_centre.mean(1)
    rest = pivot + (turn.transpose(1, 2) @ (eyes - motion.translation - pivot)[..., None])[..., 0]
    posed = eyes + (turn @ offset[..., None])[..., 0]
    return FramePose(centre=posed, axes=turn @ own), FramePose(centre=rest + offset, axes=own)


def _half_distance(glasses: Tensor) -> Tensor:
    """Distance of the lens centres from the middle [cm], of the shape of a column of `glasses`."""
    return glasses[..., 1:2] + 0.95


def front(glasses: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Signed distance from the parts of a front.

    Args:
        glasses: `(n, 12)`.
        place: `(n, 2)` [cm].

    Returns:
        Distance from the edge of the frame, negative on it, and from the edge of the nearer lens, `(n, 1)` each [cm].
    """
    u, v = place.split(1, 1)
    half, middle, rim = glasses[:, 4:5] / 2, _half_distance(glasses), glasses[:, 4:5]
    across, power = (u.abs() - middle) / glasses[:, 1:2], glasses[:, 3:4]
    f = (across.abs() ** power + (v / glasses[:, 2:3]).abs() ** power).clamp(min=1e-4) ** (1 / power)
    lens = torch.cat([u.abs() - middle, v], 1).norm(dim=1, keepdim=True) * (1 - 1 / f)
    width = torch.where(v < 0, half * glasses[:, 5:6].clamp(min=0.12), half)
    inner = middle - glasses[:, 1:2] * 0.93
    arch = v - 0.30 * glasses[:, 2:3] - 0.18 * (1 - (u / inner) ** 2)
    bridge = torch.maximum(arch.abs() - 0.45 * rim.clamp(max=0.3), u.abs() - inner)
    return torch.minimum(lens.abs() - width, bridge), lens


def paint_glasses(
    image: Tensor, glasses: Tensor, pose: FramePose, pixels: Tensor, unit_cm: float
) -> tuple[Tensor, Tensor]:
    """Paint glasses over pictures, in place.

    Args:
        image: `(B, 3, R, R)` in [0, 1].
        glasses: `(B, 12)`, all worn.
        pose: Where they are.
        pixels: `(R, R, 2)` pixel centres [photo units].
        unit_cm: Width of a pixel at the face [cm].

    Returns:
        How far each pixel is frame front `(B, R, R)`, 0 to 1, and its place on the front `(B, R, R, 2)` [cm].
    """
    B = len(glasses)
    place = pose.place(pixels.expand(B, *pixels.shape))
    limit = torch.stack([_half_distance(glasses)[:, 0] + glasses[:, 1] + _REACH_CM[0], glasses[:, 2] + _REACH_CM[1]], 1)
    b, y, x = cell = (place.abs() < limit[:, None, None]).all(-1).nonzero(as_tuple=True)
    g, at = glasses[b], place[cell]
    edge, lens = front(g, at)
    rim = (0.5 - edge / unit_cm).clamp(0, 1)
    temple = _temples(g, pose.rows(b), pixels[y, x], unit_cm)
    below, _ = front(g, at + camera.constant((0.0, 0.28), at))  # light from above throws the shadow downwards
    shadow = 1 - 0.28 * torch.exp(-((below.clamp(min=0) / 0.22) ** 2)) * (1 - rim)
    inside = (0.5 - lens / unit_cm).clamp(0, 1)
    band = camera.smoothstep(1 - ((at[:, :1].abs() * 0.5 + at[:, 1:] - 1.4).abs() / 0.5))
    colour = image.permute(0, 2, 3, 1)[cell] * shadow * (1 - inside * g[:, 10:11])
    colour = colour + inside * (0.03 + band) * g[:, 9:10]
    shine = 0.8 + 0.25 * (at[:, 1:] / g[:, 2:3]).clamp(-1, 1) + 0.5 * torch.exp(-(((edge / g[:, 4:5] + 0.3) * 5) ** 2))
    frame = (g[:, 6:9] + 0.04) * shine
    image.permute(0, 2, 3, 1)[cell] = torch.lerp(colour, frame, torch.maximum(rim, temple))
    shown = torch.zeros_like(place[..., 0])
    shown[cell] = rim[:, 0]
    return shown, place


def _temples(glasses: Tensor, pose: FramePose, xy: Tensor, unit_cm: float) -> Tensor:
    """How far pixels `(n, 2)` [photo units] show a temple, `(n, 1)`: only on the side that the head turns to us."""
    out = torch.zeros_like(xy[:, :1])
    for side in (-1.0, 1.0):
        x = side * (_half_distance(glasses) + glasses[:, 1:2])
        y, zero = 0.35 * glasses[:, 2:3], torch.zeros_like(x)
        hinge, end = (
            camera.project(pose.centre + (pose.axes @ torch.cat(p, 1)[..., None])[..., 0])
            for p in ((x, y, zero), (x + 0.4 * side, y + 0.2, zero - _TEMPLE_CM))
        )
        rod = end - hinge
        along = ((xy - hinge) * rod).sum(1, keepdim=True) / (rod * rod).sum(1, keepdim=True).clamp(min=1e-3)
        units = camera.FOCAL / -pose.centre[:, 2:3]  # photo units per cm
        away = (xy - hinge - rod * along.clamp(0, 1)).norm(dim=1, keepdim=True) / units
        outwards = camera.smoothstep(side * rod[:, :1] / 12)
        cover = (0.5 - (away - 0.45 * glasses[:, 4:5]) / unit_cm).clamp(0, 1)
        out = torch.maximum(out, cover * outwards * (1.3 - 1.3 * along).clamp(0, 1))
    return out


@torch.no_grad()
def glasses_score(eye_centre: Tensor, rotation: Tensor, photo: Tensor) -> Tensor:
    """How much photographs look as if people wore glasses: lines across the bridge of the nose and below the eyes.

    Args:
        eye_centre: `(N, 2, 3)` eyeballs, camera space [cm].
        rotation: `(N, 3, 3)` head to camera.
        photo: `(N, 3, S, S)` uint8.

    Returns:
        `(N,)`; above `LOOKS_LIKE_GLASSES` it is likely.
    """
    offset = rotation @ camera.constant((0.0, 0.0, 2.0), rotation)
    pose = FramePose(centre=eye_centre.mean(1) + offset, axes=rotation)

    def line(left: float, right: float, low: float, high: float) -> Tensor:
        u = torch.linspace(left, right, 15, device=photo.device)
        v = torch.linspace(low, high, round((high - low) / 0.05), device=photo.device)
        at = torch.stack(torch.meshgrid(u, v, indexing="xy"), -1)  # (v, u, 2)
        local = (pose.axes[:, None, None, :, :2] @ at[None, ..., None])[..., 0]
        xy = camera.project(pose.centre[:, None, None] + local)
        grey = camera.look_up(photo.float() / 255, xy).mean(1)  # (N, v, u)
        step = 5  # 0.25 cm
        bend = (grey[:, : -2 * step] + grey[:, 2 * step :]) / 2 - grey[:, step:-step]
        strength = bend.abs() / grey.mean((1, 2), keepdim=True).clamp(min=0.05)
        coherent = F.max_pool1d(strength.transpose(1, 2).flatten(0, 1), 9, 1, 4).view(len(photo), 15, -1).amin(1)
        return coherent.amax(1)

    below = torch.minimum(line(1.9, 4.2, -2.9, -0.9), line(-4.2, -1.9, -2.9, -0.9))
    return line(-0.55, 0.55, -0.7, 1.3) + below
