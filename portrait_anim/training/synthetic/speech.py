"""A spoken line: phones with times, the mouth curves that go with them, and pauses.

The phones are a small set of English sounds; each has a mouth shape (viseme) and, in `voice`, a sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor

from portrait_anim.errors import InputError
from portrait_anim.training.synthetic.motion import MotionStatistics
from portrait_anim.training.synthetic.motion_tables import VISEMES

SILENCE: Final = "_"
_ARTICULATION: Final = 1.35  # averaging neighbours makes mouth shapes small; this undoes it
# phone: (viseme, strength, usual length [s])
PHONES: Final[Mapping[str, tuple[str, float, float]]] = MappingProxyType(
    {
        "a": ("a", 1.0, 0.14), "e": ("e", 1.0, 0.11), "i": ("i", 0.9, 0.12), "o": ("o", 1.0, 0.14),
        "u": ("u", 0.9, 0.12), "x": ("l", 0.9, 0.08), "m": ("m", 1.0, 0.09), "b": ("m", 1.0, 0.07),
        "p": ("m", 1.0, 0.09), "f": ("f", 1.0, 0.10), "v": ("f", 0.9, 0.07), "s": ("s", 0.9, 0.11),
        "z": ("s", 0.8, 0.08), "S": ("sh", 1.0, 0.11), "l": ("l", 0.8, 0.07), "r": ("r", 0.9, 0.07),
        "n": ("l", 0.6, 0.07), "t": ("s", 0.6, 0.07), "d": ("s", 0.6, 0.06), "k": ("e", 0.5, 0.08),
        "g": ("e", 0.5, 0.07), "h": ("rest", 1.0, 0.06), "w": ("u", 1.0, 0.07), "y": ("i", 0.7, 0.06),
        SILENCE: ("rest", 1.0, 0.10),
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedPhone:
    """One sound of a spoken line.

    Attributes:
        phone: Its name in `PHONES`.
        start_s: When it starts [s].
        end_s: When it ends [s].
    """

    phone: str
    start_s: float
    end_s: float


def time_phones(line: str, *, start_s: float = 0.0, tempo: float = 1.0) -> tuple[TimedPhone, ...]:
    """Give every phone of a line its time.

    Args:
        line: Phones one after the other; each further `_` or space lengthens a pause, `:` doubles the phone before it.
        start_s: When the line starts [s].
        tempo: Speed; 2 is twice as fast.

    Returns:
        The timed phones.

    Raises:
        InputError: If the line holds a sign that is not a phone.
    """
    out: list[TimedPhone] = []
    now = start_s
    for sign in line.replace(" ", SILENCE):
        if sign == ":" and out:
            last = out.pop()
            now += last.end_s - last.start_s
            out.append(TimedPhone(phone=last.phone, start_s=last.start_s, end_s=now))
            continue
        if sign not in PHONES:
            raise InputError(f"Expected phones among {' '.join(PHONES)}, got {sign!r}. Spell the line with those.")
        length = PHONES[sign][2] / tempo
        out.append(TimedPhone(phone=sign, start_s=now, end_s=now + length))
        now += length
    return tuple(out)


def mouth_curves(statistics: MotionStatistics, phones: tuple[TimedPhone, ...], time_s: Tensor) -> Tensor:
    """Mouth coefficients of a spoken line.

    Neighbouring sounds melt into each other (coarticulation): each viseme is a bell over time that is wider than its
    phone, and where bells overlap they are averaged.

    Args:
        statistics: Holds the viseme table.
        phones: The line.
        time_s: `(T,)` [s].

    Returns:
        `(T, 53)` in [0, 1].
    """
    names = list(VISEMES)
    total = torch.zeros(len(time_s), len(statistics.names))
    weight = torch.full((len(time_s), 1), 0.15)
    for phone in phones:
        viseme, strength, _ = PHONES[phone.phone]
        middle, half = (phone.start_s + phone.end_s) / 2, (phone.end_s - phone.start_s) / 2
        bell = torch.exp(-0.5 * ((time_s - middle) / (0.55 * half + 0.022)) ** 2)[:, None]
        total = total + bell * strength * statistics.visemes[names.index(viseme)].cpu()
        weight = weight + bell
    return (_ARTICULATION * total / weight).clamp(0, 1).to(statistics.device)
