"""The shape of a tongue: a row of ellipsoids along a bent line, from behind the lower lip over its edge and outwards.

Shapes: B batch, K ellipsoids. Head axes: x to the subject's left, y up, z forward. Image axes are those of `geometry`:
x right, y down, z away from the viewer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

LENGTH = 0.52  # of a tongue that is fully out, from the inner edge of the lower lip to its tip [10 cm]
WIDTH, THICKNESS = 0.2, 0.07  # half of either [10 cm]
_ELLIPSOIDS = 26
_INSIDE = 0.26  # how far the line reaches behind the lip [10 cm]
_ALONG = 0.62  # half length of an ellipsoid, share of its half width
_TAPER = (0.22, 0.28)  # before the tip [10 cm], a tongue gets narrower by this share
_HANGS, _RISES = math.radians(78.0), math.radians(-55.0)  # where a tongue points that hangs, and one that licks upwards
_TURNS = math.radians(62.0)  # where it points aside
_BEND = 0.14  # over which it turns [10 cm]
_LEAST, _SURE = 0.10, 0.25  # of `out`: below the first nothing is drawn, from the second on everything


@dataclass
class TonguePose:
    """What a tongue does, `(B,)` each.

    Attributes:
        out: In [0, 1], 1 is fully out.
        aside: In [-1, 1], to image right.
        up: In [0, 1]: 0 hangs over the lower lip, 1 licks the upper one.
    """

    out: torch.Tensor
    aside: torch.Tensor
    up: torch.Tensor

    @staticmethod
    def of(reading: torch.Tensor) -> TonguePose:
        """From what a motion encoder reads `(B, 3)`: out, and aside and up each times out."""
        out = reading[:, 0].clamp(0, 1)
        aside, up = (reading[:, 1:] / out[:, None].clamp(min=0.2)).unbind(1)
        return TonguePose(out=out, aside=aside.clamp(-1, 1), up=up.clamp(0, 1))

    @property
    def presence(self) -> torch.Tensor:
        """Opacity `(B,)` in [0, 1]; a tongue that is hardly out is not drawn."""
        share = ((self.out - _LEAST) / (_SURE - _LEAST)).clamp(0, 1)
        return share * share * (3 - 2 * share)


@dataclass
class TongueBody:
    """Ellipsoids in the axes they were built in, or of a frame.

    Attributes:
        centre: `(B, K, 3)`.
        form: `(B, K, 3, 3)` symmetric, `A A^T` of ellipsoids `centre + A (unit sphere)`.
        curved: `(B, K, 3, 3)` maps a point of the surface, from the centre, along its normal. But for the tip it takes
            ellipsoids for cylinders, so that the surface of their row has no ripples.
        across: `(B, K, 3)` unit vectors over the width, divided by the half width.
        along: `(B, K)` distance from the inner lip edge [10 cm], negative behind it.
        tip: `(B, K)` distance from the tip [10 cm].
    """

    centre: torch.Tensor
    form: torch.Tensor
    curved: torch.Tensor
    across: torch.Tensor
    along: torch.Tensor
    tip: torch.Tensor


def build_tongue(
    pose: TonguePose,
    mouth_width: torch.Tensor,
    width: float | torch.Tensor = WIDTH,
    thickness: float | torch.Tensor = THICKNESS,
) -> TongueBody:
    """Lay a tongue over a lip.

    Args:
        pose: What it does, batch B.
        mouth_width: `(B,)` between the corners [10 cm]; a tongue is not wider.
        width: Half its width [10 cm], a number or `(B,)`.
        thickness: Half its thickness.

    Returns:
        The tongue in head axes [10 cm], from the middle of the lower lip's inner edge.
    """
    half = torch.minimum(torch.as_tensor(width).to(mouth_width), 0.46 * mouth_width)
    length = LENGTH * pose.out
    last = length - _ALONG * (1 - _TAPER[1]) * half
    step = (last + _INSIDE) / (_ELLIPSOIDS - 1)
    along = -_INSIDE + step[:, None] * torch.arange(_ELLIPSOIDS, device=half.device)  # (B, K)
    bent = ((along + 0.02) / _BEND).clamp(0, 1)
    end = _HANGS + (_RISES - _HANGS) * pose.up[:, None]
    pitch, yaw = 0.1 + (end - 0.1) * bent, _TURNS * pose.aside[:, None] * ((along + 0.1) / 0.25).clamp(0, 1)
    ahead = torch.stack([yaw.sin(), -pitch.sin() * yaw.cos(), pitch.cos() * yaw.cos()], dim=-1)  # (B, K, 3)
    path = (ahead * step[:, None, None]).cumsum(1)
    zero = (along <= 0).sum(1).clamp(1, _ELLIPSOIDS) - 1  # the last ellipsoid behind the lip
    at_lip = (
        path.gather(1, zero[:, None, None].expand(-1, 1, 3)) - along.gather(1, zero[:, None])[..., None] * ahead[:, :1]
    )
    thick = torch.as_tensor(thickness).to(half).expand(len(half))[:, None] * (1 - 0.3 * (along / LENGTH).clamp(0, 1))
    rest = torch.stack([0.06 * pose.aside, 0.75 * thick[:, 0], 0.02 * torch.ones_like(half)], dim=-1)
    side = ahead.new_tensor([1.0, 0.0, 0.0]) - ahead[..., :1] * ahead
    side = F.normalize(side, dim=-1)
    top = torch.cross(ahead, side, dim=-1)
    to_tip = last[:, None] - along
    broad = half[:, None] * (1 - _TAPER[1] * (1 - to_tip / _TAPER[0]).clamp(0, 1) ** 2)
    frame = torch.stack([side, ahead, top], dim=-1)  # (B, K, 3, 3)
    lengths = torch.stack([broad, _ALONG * broad, thick], dim=-1)
    bends = lengths**-2
    bends[:, :-1, 1] = 0
    return TongueBody(
        centre=path - at_lip + rest[:, None],
        form=(frame * lengths[..., None, :] ** 2) @ frame.transpose(-1, -2),
        curved=(frame * bends[..., None, :]) @ frame.transpose(-1, -2),
        across=side / broad[..., None],
        along=along,
        tip=to_tip + _ALONG * half[:, None],
    )


def place_tongue(body: TongueBody, turn: torch.Tensor, root: torch.Tensor, size: torch.Tensor) -> TongueBody:
    """Put a tongue into a frame, under weak perspective.

    Args:
        body: In head axes.
        turn: `(B, 3, 3)` head pose in the frame, image axes.
        root: `(B, 3)` middle of the lower lip's inner edge: position in [-1, 1] and depth [half crop sides].
        size: `(B,)` head size there [half crop sides per 10 cm].

    Returns:
        The tongue in image axes [half crop sides].
    """
    flip = torch.diag(turn.new_tensor([1.0, -1.0, -1.0]))
    axes = (turn @ flip)[:, None]  # (B, 1, 3, 3)
    size = size[:, None, None]
    return TongueBody(
        centre=root[:, None] + (axes @ body.centre[..., None])[..., 0] * size,
        form=axes @ body.form @ axes.transpose(-1, -2) * size[..., None] ** 2,
        curved=axes @ body.curved @ axes.transpose(-1, -2) / size[..., None] ** 2,
        across=(axes @ body.across[..., None])[..., 0] / size,
        along=body.along,
        tip=body.tip,
    )


def half_depth(body: TongueBody) -> torch.Tensor:
    """Squared half thickness `(B, K)` of ellipsoids in the line of sight, through their centres."""
    form = body.form
    sight = torch.linalg.solve(form[..., :2, :2], form[..., :2, 2:])[..., 0]
    out: torch.Tensor = form[..., 2, 2] - (form[..., 2, :2] * sight).sum(-1)
    return out.clamp(min=0)
