"""Making the prompted sequence that an enrolling person performs."""

from __future__ import annotations

import random as random_module
import secrets
from datetime import datetime, timedelta
from typing import get_args

from portrait_anim.consent.records import Challenge, ChallengeAction, clean_text, utc
from portrait_anim.consent.rows import put_challenge
from portrait_anim.consent.store import ConsentStore

ACTIONS: tuple[ChallengeAction, ...] = get_args(ChallengeAction)
TURNS: tuple[ChallengeAction, ...] = ("turn_left", "turn_right")
EXPRESSIONS: tuple[ChallengeAction, ...] = ("blink_twice", "open_mouth", "smile", "raise_brows")
NUM_ACTIONS = 5
LIFETIME = timedelta(minutes=10)


def draw_actions(random: random_module.Random, count: int = NUM_ACTIONS) -> tuple[ChallengeAction, ...]:
    """Draw different actions in random order, among them a head turn and an expression.

    The turn lets the verifier see that the head is solid, the expression that the face is alive.

    Args:
        random: Source of randomness.
        count: How many, 5 to 9.

    Returns:
        The actions in the order to perform them.

    Raises:
        ValueError: If `count` is out of range.
    """
    if not NUM_ACTIONS <= count <= len(ACTIONS):
        raise ValueError(f"expected {NUM_ACTIONS} to {len(ACTIONS)} actions, got {count}")
    while True:
        actions = tuple(random.sample(ACTIONS, count))
        if any(action in TURNS for action in actions) and any(action in EXPRESSIONS for action in actions):
            return actions


def issue_challenge(
    store: ConsentStore,
    *,
    name: str,
    now: datetime,
    random: random_module.Random | None = None,
    num_actions: int = NUM_ACTIONS,
) -> Challenge:
    """Make a challenge for one person; it can be answered once, within ten minutes.

    Args:
        store: The open store.
        name: Name under which the cameo will be enrolled.
        now: Current time, timezone-aware.
        random: Source of randomness; the operating system's when `None`.
        num_actions: How many actions, 5 to 9.

    Returns:
        The challenge as recorded.

    Raises:
        ValueError: If the name is empty or not printable.
        ConsentError: If the store cannot be written.
    """
    random = random or secrets.SystemRandom()
    issued = utc(now)
    challenge = Challenge(
        id=f"cha_{random.getrandbits(64):016x}",
        name=clean_text(name, "name"),
        nonce=f"{random.getrandbits(128):032x}",
        actions=draw_actions(random, num_actions),
        issued=issued,
        expires=issued + LIFETIME,
    )
    with store.write() as connection:
        put_challenge(connection, store, challenge)
    return challenge
