"""The prompted sequence that an enrolling person performs: made for one portrait, answered once and in time."""

from __future__ import annotations

import random as random_module
import re
import secrets
from datetime import datetime, timedelta
from typing import Final, get_args

from sqlalchemy import Connection

from portrait_anim.consent.attempts import count_attempt
from portrait_anim.consent.dot import draw_dot_path
from portrait_anim.consent.ledger import recorded
from portrait_anim.consent.records import Challenge, ChallengeAction, CodePolicy, clean_text, utc
from portrait_anim.consent.rows import find_challenge, put_challenge
from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import ConsentDenied
from portrait_anim.types import IdentityEmbedding

FOLLOW_DOT: Final[ChallengeAction] = "follow_dot"
"""The action that needs a screen which shows the dot."""
ACTIONS: tuple[ChallengeAction, ...] = tuple(action for action in get_args(ChallengeAction) if action != FOLLOW_DOT)
TURNS: tuple[ChallengeAction, ...] = ("turn_left", "turn_right")
EXPRESSIONS: tuple[ChallengeAction, ...] = ("blink_twice", "open_mouth", "smile", "raise_brows")
NUM_ACTIONS = 5
LIFETIME = timedelta(minutes=10)
CODE_LENGTH: Final = 6
DEFAULT_PURPOSE: Final = "cameo"


def draw_actions(
    random: random_module.Random, count: int = NUM_ACTIONS, *, dot: bool = False
) -> tuple[ChallengeAction, ...]:
    """Draw different actions in random order, among them a head turn and an expression.

    The turn lets the verifier see that the head is solid, the expression that the face is alive.

    Args:
        random: Source of randomness.
        count: How many, 5 to 9.
        dot: Whether one of them is to follow a dot, which somebody has to show.

    Returns:
        The actions in the order to perform them.

    Raises:
        ValueError: If `count` is out of range.
    """
    if not NUM_ACTIONS <= count <= len(ACTIONS):
        raise ValueError(f"expected {NUM_ACTIONS} to {len(ACTIONS)} actions, got {count}")
    while True:
        actions = list(random.sample(ACTIONS, count))
        if dot:
            actions[random.randrange(count)] = FOLLOW_DOT
        if any(action in TURNS for action in actions) and any(action in EXPRESSIONS for action in actions):
            return tuple(actions)


def issue_challenge(
    store: ConsentStore,
    *,
    name: str,
    portrait_digest: str,
    adult_declared: bool,
    now: datetime,
    purpose: str = DEFAULT_PURPOSE,
    random: random_module.Random | None = None,
    num_actions: int = NUM_ACTIONS,
    code_policy: CodePolicy = "optional",
    dot: bool = False,
    link_token_digest: str = "",
    face: IdentityEmbedding | None = None,
) -> Challenge:
    """Make a challenge for one person and one portrait; it can be answered once, within ten minutes.

    Args:
        store: The open store.
        name: Name under which the cameo will be enrolled.
        portrait_digest: sha256 of the decoded portrait that will be enrolled, hexadecimal; no other will do.
        adult_declared: Whether the person declared to be of age.
        now: Current time, timezone-aware.
        purpose: What the cameo is enrolled for, in a few words.
        random: Source of randomness; the operating system's when `None`.
        num_actions: How many actions, 5 to 9.
        code_policy: Whether six spoken digits must be heard (`"required"`), are noted (`"optional"`) or not asked for.
        dot: Whether a dot to follow can be shown to the person.
        link_token_digest: sha256 of the token of the link through which the person enrols, or `""`.
        face: Who is on the portrait, by whom attempts are counted; `None` where a link counts them.

    Returns:
        The challenge as recorded.

    Raises:
        ConsentDenied: If the person did not declare to be of age, or the face had too many challenges within a day.
        ValueError: If name, purpose or digest make no sense.
        ConsentError: If the store cannot be written.
    """
    _check_asked(adult_declared, code_policy)
    random = random or secrets.SystemRandom()
    issued = utc(now)
    challenge = Challenge(
        id=f"cha_{random.getrandbits(64):016x}",
        name=clean_text(name, "name"),
        nonce=f"{random.getrandbits(128):032x}",
        actions=draw_actions(random, num_actions, dot=dot),
        issued=issued,
        expires=issued + LIFETIME,
        portrait_digest=check_digest(portrait_digest),
        purpose=clean_text(purpose, "purpose"),
        code="" if code_policy == "off" else f"{random.randrange(10**CODE_LENGTH):0{CODE_LENGTH}d}",
        code_policy=code_policy,
        dot_path=draw_dot_path(random).to_json() if dot else "",
        adult_declared=True,
        link_token_digest=link_token_digest,
    )
    with store.write() as connection:
        if face is not None:
            count_attempt(connection, store, challenge.id, face, issued)
        put_challenge(connection, store, challenge)
    return challenge


def _check_asked(adult_declared: bool, code_policy: CodePolicy) -> None:
    if adult_declared is not True:
        raise ConsentDenied(
            "expected the declaration of the person to be of age, got none; only adults can enrol, and say so "
            "(`--adult` on the command line)",
            reason="not_adult",
        )
    if code_policy not in get_args(CodePolicy):
        raise ValueError(f"expected a code policy among {', '.join(get_args(CodePolicy))}, got {code_policy!r}")


def open_challenge(connection: Connection, store: ConsentStore, challenge_id: str, now: datetime) -> Challenge:
    """Return a challenge that can be answered now.

    Args:
        connection: Open connection.
        store: The store of the connection.
        challenge_id: Its id.
        now: Current time [UTC].

    Raises:
        ConsentDenied: If it is unknown, expired or answered already.
    """
    challenge = find_challenge(connection, store, challenge_id)
    if challenge is None:
        raise ConsentDenied(
            f"expected the id of an issued challenge, got {challenge_id!r}; ask for one with `cameo challenge`",
            reason="no_challenge",
        )
    answered = recorded(connection, "enrolled", challenge_id=challenge_id) or recorded(
        connection, "enrolment_refused", challenge_id=challenge_id
    )
    if answered:
        raise ConsentDenied(
            f"expected a fresh challenge, got {challenge_id}, which was answered at "
            f"{answered.time.isoformat()}; "
            "ask for a new one: each is good for one attempt",
            reason="challenge_used",
        )
    if not challenge.issued <= now < challenge.expires:
        raise ConsentDenied(
            f"expected an answer between {challenge.issued.isoformat()} and {challenge.expires.isoformat()}, "
            f"got one at {now.isoformat()}; ask for a new challenge and answer it at once",
            reason="challenge_expired",
        )
    return challenge


def check_bound(challenge: Challenge, portrait_digest: str, *, link_digest: str = "") -> None:
    """Refuse an answer that does not belong to a challenge, before any work is done.

    Args:
        challenge: The challenge.
        portrait_digest: sha256 of the decoded portrait that was handed in, hexadecimal.
        link_digest: sha256 of the token of the link through which the answer came, or `""`.

    Raises:
        ConsentDenied: If it was issued for another portrait, through another way in, or without a declaration of age.
    """
    if challenge.link_token_digest != link_digest:
        raise ConsentDenied(
            f"expected the answer to challenge {challenge.id} through the link or command that issued it, got it "
            "elsewhere; hand it in there, or ask for a new challenge",
            reason="no_challenge",
        )
    if challenge.portrait_digest != portrait_digest:
        raise ConsentDenied(
            f"expected the portrait that challenge {challenge.id} was issued for, got another picture; "
            "hand in that portrait, or ask for a new challenge for this one",
            reason="portrait_mismatch",
        )
    if not challenge.adult_declared:
        raise ConsentDenied(
            f"expected a challenge issued to an adult, got {challenge.id} without a declaration of age; "
            "ask for a new challenge and declare it",
            reason="not_adult",
        )


def check_digest(digest: str) -> str:
    """Return a digest after checking that it is one.

    Raises:
        ValueError: If it is not a sha256 in lower-case hexadecimal digits.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError(f"expected a sha256 of the portrait, 64 hexadecimal digits, got {digest!r}")
    return digest
