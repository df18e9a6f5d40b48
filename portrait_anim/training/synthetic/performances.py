"""The actors and the performances of the sample assets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from portrait_anim.training.synthetic.actors import ActorRecipe, Donor
from portrait_anim.training.synthetic.camera import Window
from portrait_anim.training.synthetic.curves import Key, Performance, Track
from portrait_anim.training.synthetic.motion_tables import EMOTIONS
from portrait_anim.training.synthetic.speech import time_phones

Action: TypeAlias = Literal["turn_left", "open_mouth", "smile", "look_up", "raise_brows", "blink_twice"]

WINDOW: Final = Window(left=0.0, top=-20.0, span=1024.0)

ACTOR_A: Final = ActorRecipe(
    base=857,
    donors=(
        Donor(number=750, skin=0.5, shape=0.4),
        Donor(number=838, skin=0.4, shape=0.4),
        Donor(number=788, shape=0.2),
    ),
    shape_noise=0.5,
    seed=1,
)
ACTOR_B: Final = ActorRecipe(
    base=779,
    donors=(
        Donor(number=201, skin=0.5, shape=0.6),
        Donor(number=727, skin=0.5, shape=0.6),
        Donor(number=555, shape=0.2),
    ),
    shape_noise=0.7,
    seed=2,
)
ACTOR_C: Final = ActorRecipe(
    base=815,
    donors=(
        Donor(number=526, skin=0.5, shape=0.6),
        Donor(number=277, skin=0.5, shape=0.6),
        Donor(number=40, shape=0.2),
    ),
    shape_noise=0.8,
    seed=817,
)
ACTOR_D: Final = ActorRecipe(
    base=426,
    donors=(
        Donor(number=185, skin=0.5, shape=0.4),
        Donor(number=757, skin=0.4, shape=0.4),
        Donor(number=202, shape=0.2),
    ),
    shape_noise=0.5,
    seed=427,
    gain=(0.97, 1.03, 1.05),
)

_REST_PITCH_A: Final = 8.0  # actors A and D hold their heads low in the photographs they start from
_REST_PITCH_D: Final = 6.0

PORTRAIT: Final = Performance(duration_s=0.04, rest_pitch=_REST_PITCH_A)
PORTRAIT_B: Final = Performance(duration_s=0.04, yaw=((0.0, 3.0),))

# "Hello. I am not a real person, but I can smile."
LINE: Final = time_phones("helo:u__aiamnotxril:pxrsxn___bxtaikansmail", start_s=0.45)

DRIVING: Final = Performance(
    duration_s=6.0,
    line=LINE,
    expression=(
        ({"browInnerUp": 0.55, "browOuterUp": 0.5}, ((0.3, 0.0), (0.6, 1.0), (1.0, 0.8), (1.4, 0.0))),
        ({"browInnerUp": 0.4, "browOuterUp_L": 0.6}, ((2.9, 0.0), (3.2, 1.0), (3.7, 0.0))),
        ({"browDown": 0.5, "eyeSquint": 0.3}, ((1.7, 0.0), (2.0, 1.0), (2.5, 0.0))),
        (EMOTIONS["joy"], ((3.9, 0.0), (4.6, 0.75), (5.3, 0.7), (5.9, 0.08))),
    ),
    yaw=((0.0, 0.0), (0.5, -3.0), (1.2, 9.0), (2.1, -4.0), (2.9, -16.0), (3.7, -9.0), (4.4, 13.0), (5.1, 8.0),
         (5.9, 0.0)),
    pitch=((0.0, 0.0), (0.5, 3.0), (0.8, -5.0), (1.3, 4.0), (1.8, -1.0), (2.4, 6.0), (3.0, 0.0), (3.4, -4.0),
           (4.2, 3.0), (4.8, -3.0), (5.9, 0.0)),
    roll=((0.0, 0.0), (1.0, 4.0), (2.2, -3.0), (3.2, 2.0), (4.6, -7.0), (5.3, -4.0), (5.9, 0.0)),
    gaze_right=((1.5, 0.0), (1.56, -9.0), (2.3, -9.0), (2.36, 6.0), (3.6, 6.0), (3.66, 0.0)),
    gaze_down=((1.5, 0.0), (1.56, 4.0), (2.3, 4.0), (2.36, 0.0)),
    blinks=(0.15, 1.45, 2.25, 3.62, 5.35),
    unrest=1.0,
    seed=11,
)  # fmt: skip

DRIVING_B: Final = Performance(
    duration_s=3.0,
    rest_pitch=_REST_PITCH_D,
    expression=(
        (EMOTIONS["surprise"], ((0.25, 0.0), (0.5, 0.9), (0.9, 0.8), (1.15, 0.0))),
        (EMOTIONS["rage"], ((1.0, 0.0), (1.35, 0.9), (1.9, 0.8), (2.2, 0.0))),
        (EMOTIONS["sadness"], ((2.05, 0.0), (2.4, 0.8), (2.75, 0.7), (2.95, 0.3))),
    ),
    yaw=((0.0, 0.0), (0.5, -6.0), (1.3, 10.0), (1.7, 3.0), (2.4, -8.0), (2.95, -3.0)),
    pitch=((0.0, 0.0), (0.45, -7.0), (1.3, 8.0), (1.9, 4.0), (2.5, 9.0), (2.95, 4.0)),
    roll=((0.3, 0.0), (1.3, -5.0), (2.4, 6.0), (2.95, 2.0)),
    shift_z=((0.2, 0.0), (0.5, -3.0), (1.3, 3.0), (2.3, 0.0)),
    blinks=(0.05, 1.0, 2.1),
    unrest=1.0,
    seed=12,
)

CHALLENGE_ACTIONS: Final[tuple[tuple[Action, float, float], ...]] = (
    ("turn_left", 1.2, 3.4),
    ("open_mouth", 4.4, 6.2),
    ("smile", 7.2, 9.0),
    ("look_up", 10.0, 12.0),
    ("raise_brows", 13.0, 14.6),
    ("blink_twice", 15.6, 17.0),
)


def held(start_s: float, end_s: float, value: float, *, ease_s: float = 0.45) -> tuple[Key, ...]:
    """Keys that rise to a value, hold it and fall back within a span of time."""
    return ((start_s, 0.0), (start_s + ease_s, value), (end_s - ease_s, value), (end_s, 0.0))


def challenge_performance(
    actions: Sequence[tuple[Action, float, float]] = CHALLENGE_ACTIONS, *, duration_s: float = 18.0
) -> Performance:
    """Perform liveness actions in order, neutral in between.

    Args:
        actions: (action, start [s], end [s]) in order of time.
        duration_s: Length [s].

    Returns:
        The performance.
    """
    yaw: list[Key] = []
    pitch: list[Key] = []
    gaze_down: list[Key] = []
    expression: list[Track] = []
    blinks = [0.5]
    for action, start, end in actions:
        if action == "turn_left":
            yaw += held(start, end, 25.0, ease_s=0.7)
        elif action == "look_up":
            pitch += held(start, end, -15.0, ease_s=0.6)
            gaze_down += held(start, end, -6.0, ease_s=0.4)
        elif action == "blink_twice":
            blinks += [start + 0.1, start + 0.75]
        else:
            shape = {
                "open_mouth": {"jawOpen": 0.62, "mouthLowerDown": 0.15},
                "smile": {"mouthSmile": 0.9, "cheekSquint": 0.55, "mouthDimple": 0.25, "mouthUpperUp": 0.1},
                "raise_brows": {"browInnerUp": 1.0, "browOuterUp": 1.0, "eyeWide": 0.35},
            }[action]
            expression.append((shape, held(start, end, 1.0)))
    return Performance(
        duration_s=duration_s,
        rest_pitch=_REST_PITCH_A,
        expression=expression,
        yaw=yaw,
        pitch=pitch,
        gaze_down=gaze_down,
        blinks=blinks,
        unrest=0.5,
        seed=13,
    )
