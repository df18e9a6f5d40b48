"""Random single-frame motion of living faces: expression, gaze, lids, head pose.

`expr` is *semantic*: 53 ICT coefficients in [0, 1], 0 being the person's own resting face, so that one vector drives
anybody. Gaze and head angles are degrees: gaze = (right, down) as seen in the picture, head = (yaw, pitch, roll).

Shape legend: B batch, E = 53 coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from portrait_anim.training.synthetic.camera import constant
from portrait_anim.training.synthetic.motion_tables import (
    BROW_ACTIONS,
    EMOTIONS,
    MOUTH_ACTIONS,
    SHOWN,
    VISEMES,
    Shape,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gesture:
    """What anybody can be asked to show, independent of who it is.

    Attributes:
        expr: `(B, 53)` semantic expression.
        head: `(B, 3)` absolute yaw, pitch, roll [deg].
        shift: `(B, 3)` translation [cm].
        gaze: `(B, 2)` gaze in the head [deg], right and down.
    """

    expr: Tensor
    head: Tensor
    shift: Tensor
    gaze: Tensor

    def __len__(self) -> int:
        return len(self.expr)

    def rows(self, index: Tensor) -> Gesture:
        """The given rows."""
        return Gesture(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def choose(mask: Tensor, yes: Gesture, no: Gesture) -> Gesture:
    """Per sample, `yes` where `mask` `(B,)` is true, else `no`."""
    return Gesture(
        **{f.name: torch.where(mask[:, None], getattr(yes, f.name), getattr(no, f.name)) for f in fields(Gesture)}
    )


def concatenate(gestures: list[Gesture]) -> Gesture:
    """Several gestures one after the other along the batch."""
    return Gesture(**{f.name: torch.cat([getattr(g, f.name) for g in gestures]) for f in fields(Gesture)})


def add_lid_coupling(expr: Tensor, gaze: Tensor, names: tuple[str, ...]) -> Tensor:
    """Let the lids follow the eyeball.

    Args:
        expr: `(B, 53)`.
        gaze: `(B, 2)` [deg], right and down, relative to the photograph.
        names: The 53 coefficient names.

    Returns:
        `(B, 53)` with the eyeLook* coefficients added.
    """
    right, down = gaze[:, 0], gaze[:, 1]
    extra = torch.zeros_like(expr)
    for side, outwards in (("_L", right), ("_R", -right)):
        extra[:, names.index("eyeLookDown" + side)] = down.clamp(min=0) / 30
        extra[:, names.index("eyeLookUp" + side)] = (-down).clamp(min=0) / 30
        extra[:, names.index("eyeLookOut" + side)] = outwards.clamp(min=0) / 35
        extra[:, names.index("eyeLookIn" + side)] = (-outwards).clamp(min=0) / 35
    return (expr + extra).clamp(0, 1)


def _swap_end(name: str, ends: Mapping[str, str]) -> str:
    """A name with its ending replaced as `ends` says; the name itself when none fits."""
    for end, other in ends.items():
        if name.endswith(end):
            return name[: -len(end)] + other
    return name


class MotionStatistics:
    """How faces move: tables for one coefficient order and samplers over them.

    All randomness comes from the generator given to each call; it must live on `device`.

    Args:
        names: The 53 coefficient names.
        device: Torch device.
    """

    def __init__(self, names: tuple[str, ...], device: torch.device) -> None:
        self.names = names
        self.device = device
        self.emotions = self.table(EMOTIONS)
        self.visemes = self.table(VISEMES)
        self.mouth_actions = self.table(MOUTH_ACTIONS)
        self.brow_actions = self.table(BROW_ACTIONS)
        self.shown = self.table({"shown": dict.fromkeys(SHOWN, 1.0)})[0]
        index = {name: k for k, name in enumerate(names)}
        other_side = {"_L": "_R", "_R": "_L"}
        partner = [index.get(n[:-2] + other_side.get(n[-2:], ""), k) for k, n in enumerate(names)]
        whole = {"Left": "Right", "Right": "Left"}
        mirror = [
            p if p != k else index.get(_swap_end(n, whole), k)
            for k, (n, p) in enumerate(zip(names, partner, strict=True))
        ]
        self._mirror = torch.tensor(mirror, device=device)
        self._partner = torch.tensor(partner, device=device)
        self._is_left = torch.tensor([n.endswith("_L") for n in names], device=device)
        self._blink = [index["eyeBlink_L"], index["eyeBlink_R"]]
        self._lids = [index[n] for n in ("eyeWide_L", "eyeWide_R", "eyeSquint_L", "eyeSquint_R")]
        rare = [n.startswith(("eyeLook", "eyeBlink", "mouthClose")) for n in names]
        self._free = (~torch.tensor(rare, device=device)).float()
        self.gaze_limits = torch.tensor([27.0, 20.0], device=device)
        self.head_limits = torch.tensor([30.0, 20.0, 20.0], device=device)

    def table(self, shapes: Mapping[str, Shape]) -> Tensor:
        """Named shapes as coefficient rows `(n, 53)`.

        Raises:
            ValueError: If a shape names a coefficient that does not exist.
        """
        out = torch.zeros(len(shapes), len(self.names), device=self.device)
        for row, shape in zip(out, shapes.values(), strict=True):
            for name, value in shape.items():
                for full in [name] if name in self.names else [name + "_L", name + "_R"]:
                    if full not in self.names:
                        raise ValueError(f"expected a name among the {len(self.names)} coefficients, got {name!r}")
                    row[self.names.index(full)] = value
        return out

    def shape(self, **coefficients: float) -> Tensor:
        """One expression `(53,)` from named coefficients; a name without side means both sides."""
        return self.table({"": coefficients})[0]

    def rand(self, g: torch.Generator, *size: int) -> Tensor:
        """Uniform numbers in [0, 1)."""
        return torch.rand(*size, generator=g, device=self.device)

    def randn(self, g: torch.Generator, *size: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(*size, generator=g, device=self.device)

    def pick(self, g: torch.Generator, table: Tensor, *size: int) -> Tensor:
        """Random rows of `table`, `(*size, ...)`."""
        return table[torch.randint(len(table), size, generator=g, device=self.device)]

    def vector(self, *values: float) -> Tensor:
        """A constant on the right device."""
        return constant(values, self.device)

    def asymmetry(self, g: torch.Generator, B: int) -> Tensor:
        """Factors around 1 `(B, 53)`; the sides of a pair lean in opposite directions, sometimes strongly."""
        E = len(self.names)
        lean = self.randn(g, B, E) * torch.where(self.rand(g, B, 1) < 0.15, 0.6, 0.12)
        lean = torch.where(self._is_left, lean, -lean[:, self._partner])
        alone = self._partner == torch.arange(E, device=self.device)
        return (1 + torch.where(alone, 0.0, lean)).clamp(0, 2)

    def actions(self, g: torch.Generator, table: Tensor, *size: int) -> Tensor:
        """Random rows of an action table, half of them mirrored, at random strength, `(*size, 53)`."""
        out = self.pick(g, table, *size)
        out = torch.where(self.rand(g, *size, 1) < 0.5, out[..., self._mirror], out)
        return out * (0.25 + 0.8 * self.rand(g, *size, 1))

    def expression(self, B: int, g: torch.Generator) -> Tensor:
        """Random single-frame expressions `(B, 53)`: sparse, correlated, asymmetric, some blinking.

        Emotion in 45 % and speech in 55 % of the frames, as in acted talk; a single mouth action in 20 % and a brow
        action in 25 %, more than in life, because nets trained on these renders learned pucker, press, sideways and
        one-sided motion last (`MOUTH_ACTIONS`). Within an emotion coefficients rise together, and the two sides of the
        face lean apart by 12 %, in every seventh frame by 60 %. All rates are set by hand, none is measured on people.
        """
        E = len(self.names)
        emotion = self.pick(g, self.emotions, B) * (0.25 + 0.9 * self.rand(g, B, 1)) * (self.rand(g, B, 1) < 0.45)
        mix = self.rand(g, B, 1)
        speech = torch.lerp(self.pick(g, self.visemes, B), self.pick(g, self.visemes, B), mix)
        speech = speech * (0.4 + 0.9 * self.rand(g, B, 1)) * (self.rand(g, B, 1) < 0.55)
        few = (self.rand(g, B, E) < 0.06).float()
        few = torch.where(self._is_left, few, few[:, self._partner]) * self._free
        level = self.rand(g, B, E) ** 1.5
        level = torch.where(self._is_left, level, level[:, self._partner])
        extra = few * level * (self.rand(g, B, 1) < 0.5)
        expr = torch.maximum(emotion, speech) + 0.3 * torch.minimum(emotion, speech) + extra
        mouth = self.actions(g, self.mouth_actions, B)
        acting = self.rand(g, B, 1) < 0.20
        expr = torch.where(acting, torch.maximum(0.35 * expr, mouth), expr)  # a pucker leaves little of a smile
        expr = torch.maximum(expr, self.actions(g, self.brow_actions, B) * (self.rand(g, B, 1) < 0.25))
        return self.set_blink((expr * self.asymmetry(g, B)).clamp(0, 1), self.closure(B, g))

    def closure(self, B: int, g: torch.Generator) -> Tensor:
        """Random lid closure `(B, 2)`: 14 % blinking in any phase, 3 % winking, else a little drooping."""
        both = self.rand(g, B, 1).expand(B, 2) * 1.3
        one_eye = torch.where(self.rand(g, B, 1) < 0.5, self.vector(1.0, 0.1), self.vector(0.1, 1.0))
        event = self.rand(g, B, 1)
        droop = 0.12 * self.rand(g, B, 1) ** 2
        return torch.where(event < 0.14, both, torch.where(event < 0.17, one_eye, droop)).clamp(0, 1)

    def set_blink(self, expr: Tensor, closure: Tensor) -> Tensor:
        """Write lid closure `(..., 2)` into `expr` `(..., 53)`; wide or squinting lids give way to it."""
        expr = expr.clone()
        expr[..., self._lids] *= 1 - closure[..., [0, 1, 0, 1]]
        expr[..., self._blink] = closure
        return expr

    def gaze(self, B: int, g: torch.Generator) -> Tensor:
        """Random gaze `(B, 2)` [deg].

        A quarter looks straight ahead in the head; 15 % look far aside, up or down (the eye reaches about 45 degrees,
        heads take over beyond 20 to 25), 10 % down as a reader does, with open lids: closure is drawn independently.
        """
        free = self.randn(g, B, 2) * self.vector(10.0, 6.0) * (self.rand(g, B, 1) > 0.25)
        far = (self.rand(g, B, 2) * 2 - 1) * self.vector(27.0, 18.0)
        reading = torch.cat([0.6 * free[:, :1], 8 + 12 * self.rand(g, B, 1)], 1)
        event = self.rand(g, B, 1)
        out = torch.where(event < 0.15, far, torch.where(event < 0.25, reading, free))
        return torch.maximum(torch.minimum(out, self.gaze_limits), -self.gaze_limits)

    def head(self, B: int, g: torch.Generator) -> Tensor:
        """Random yaw, pitch, roll `(B, 3)` [deg]: centre-heavy, within `head_limits`, roll slightly with yaw."""
        wide = torch.where(self.rand(g, B, 1) < 0.3, 1.6, 0.7)
        out = self.randn(g, B, 3) * self.vector(10.0, 6.0, 5.0) * wide
        out[:, 2] = out[:, 2] + 0.15 * out[:, 0]
        return torch.maximum(torch.minimum(out, self.head_limits), -self.head_limits)

    def shift(self, B: int, g: torch.Generator) -> Tensor:
        """Random translation `(B, 3)` [cm]; z changes the scale (at 60 cm, 6 cm are 10 %)."""
        return (self.randn(g, B, 3) * self.vector(0.7, 0.6, 3.0)).clamp(-8, 8)
