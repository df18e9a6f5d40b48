"""One HTML file that leads a person through a challenge: the steps, the moving dot, the digits, and a recorder.

It is opened from disk, loads nothing and sends nothing. `perform.js` and `perform.css` are shared with the pages of the
consent service and of the demo.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Final

from portrait_anim.consent.challenges import LIFETIME
from portrait_anim.consent.dot import DotPath
from portrait_anim.consent.movements import INSTRUCTIONS
from portrait_anim.consent.records import Challenge, ChallengeAction
from portrait_anim.media.atomic import atomic_path
from portrait_anim.media.failures import media_errors

HERE: Final = Path(__file__).parent
FOLLOW_THE_DOT: Final = "follow the moving dot with your eyes"  # these pages start it themselves


def step_text(action: ChallengeAction) -> str:
    """Return what to do in one step, as pages that move the dot themselves say it.

    Args:
        action: The step.
    """
    words = FOLLOW_THE_DOT if action == "follow_dot" else INSTRUCTIONS[action]
    return words[:1].upper() + words[1:]


def code_request(challenge: Challenge) -> str:
    """Return how the digits of a challenge are asked for; only English is understood.

    Args:
        challenge: What is asked; with digits.
    """
    asked = "Then say" if challenge.code_policy == "required" else "If you can, then say"
    return f"{asked} these digits aloud in English, one by one"


def dot_corners(challenge: Challenge) -> str:
    """Return the way of the dot as JSON corners `[time_s, right, up]`, an empty list when there is none.

    Args:
        challenge: What is asked.
    """
    return json.dumps(DotPath.from_json(challenge.dot_path).keys() if challenge.dot_path else [])


def page_text(challenge: Challenge, command: str) -> str:
    """Return the page for a challenge; it holds no name and no picture.

    Args:
        challenge: What is asked.
        command: How the recording is handed in.
    """
    steps = "\n".join(f'<li data-action="{action}">{escape(step_text(action))}</li>' for action in challenge.actions)
    return Template(_read("page.html")).substitute(
        id=escape(challenge.id),
        expires=challenge.expires.isoformat(timespec="seconds"),
        dot=escape(dot_corners(challenge)),
        code=escape(challenge.code),
        code_text=_code_text(challenge),
        steps=steps,
        command=escape(command),
        css=_read("perform.css"),
        perform=_read("perform.js"),
        script=_read("page.js"),
    )


def write_page(challenge: Challenge, path: Path, command: str) -> Path:
    """Write the page for a challenge.

    Args:
        challenge: What is asked.
        path: Where to.
        command: How the recording is handed in.

    Returns:
        The path.

    Raises:
        MediaError: If it cannot be written.
    """
    with media_errors(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as draft:
        draft.write_text(page_text(challenge, command), encoding="utf-8")
    return path


def sweep_pages(folder: Path, now: datetime) -> None:
    """Remove the pages of challenges that are over.

    Args:
        folder: Folder of pages.
        now: Current time, timezone-aware.
    """
    oldest = (now - LIFETIME).timestamp()
    for path in folder.glob("cha_*.html"):
        with suppress(FileNotFoundError):  # another process sweeps too
            if path.stat().st_mtime < oldest:
                path.unlink()


def _code_text(challenge: Challenge) -> str:
    if not challenge.code:
        return ""
    return f'<p>{code_request(challenge)}:</p>\n<p class="code">{escape(challenge.code)}</p>'


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
