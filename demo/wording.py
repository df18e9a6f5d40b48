"""How facts are put into words and small tables on the page; pure functions that give HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from portrait_anim.challenge_page import code_request, dot_corners, step_text
from portrait_anim.consent.records import Cameo, Challenge, Grant, Usage

if TYPE_CHECKING:
    from portrait_anim.studio import RenderResult

Tone = Literal["info", "good", "bad", "wait"]


def note(message: str, tone: Tone = "info") -> str:
    """A sentence in a coloured box; nothing at all for an empty message."""
    if not message:
        return ""
    role = "alert" if tone == "bad" else "status"
    return f'<div class="note {tone}" role="{role}">{escape(message)}</div>'


def challenge_text(challenge: Challenge) -> str:
    """The steps of a challenge, with what the page's script needs to lead through them and to count down."""
    steps = "".join(f'<li data-action="{action}">{escape(step_text(action))}</li>' for action in challenge.actions)
    digits = ""
    if challenge.code:
        digits = f'<p>{code_request(challenge)}: <b class="digits">{escape(challenge.code)}</b></p>'
    return (
        f'<div class="challenge" data-dot="{escape(dot_corners(challenge))}" data-code="{escape(challenge.code)}">'
        "<p><b>Record one video in which you do this, in this order.</b> Look into the camera first, take about two "
        f"seconds for each step, and stay alone in the picture.</p><ol>{steps}</ol>{digits}"
        "<p>Start the recording below, then press this button: it says each step when it is due, and shows the dot.</p>"
        '<p><button type="button" class="lead">Lead me through it</button></p>'
        f'<p>Time left: <b class="countdown" data-deadline="{challenge.expires.timestamp():.0f}">…</b> '
        f'<span class="dim">Challenge {escape(challenge.id)}; good for one attempt.</span></p></div>'
    )


def steps_text(challenge: Challenge, failures: Sequence[str] = ()) -> str:
    """How every step of an answered challenge went, and what else was wrong with the video.

    Args:
        challenge: What was asked.
        failures: `LivenessFailed.failures`; sentences about a step begin with `step N`.
    """
    by_step = {int(found[1]): text for text in failures if (found := re.match(r"step (\d+)\b", text))}
    rows = [
        _check_row(number not in by_step, f"{number}. {step_text(action)}", by_step.get(number, ""))
        for number, action in enumerate(challenge.actions, start=1)
    ]
    others = [text for text in failures if not re.match(r"step \d+\b", text)]
    rows += [_check_row(False, "The video as a whole", text) for text in others]
    return f'<ul class="checks">{"".join(rows)}</ul>'


def _check_row(passed: bool, what: str, remark: str) -> str:
    mark, word, kind = ("✓", "passed", "pass") if passed else ("✗", "failed", "fail")
    more = f'<br><span class="dim">{escape(remark)}</span>' if remark else ""
    return f'<li class="{kind}"><b aria-label="{word}">{mark}</b><span>{escape(what)}{more}</span></li>'


def cameo_label(cameo: Cameo) -> str:
    """One line for a list to choose from."""
    return f"{cameo.name} · {cameo.kind} · {cameo.id}"


def cameo_text(cameo: Cameo) -> str:
    """What is enrolled."""
    if cameo.kind == "real":
        who = "A real person, who passed the live challenge."
    else:
        who = f"A person who does not exist. The operator's statement: “{cameo.statement}”"
    return f'<p><b>{escape(cameo.name)}</b> <span class="dim">{escape(cameo.id)}</span><br>{escape(who)}</p>'


def grant_state(grant: Grant, used: Usage, now: datetime) -> str:
    """`"active"`, `"revoked"`, `"expired"` or `"used up"`."""
    if grant.revoked_at is not None:
        return "revoked"
    if now >= grant.expires:
        return "expired"
    if used.renders >= grant.max_renders or used.milliseconds >= round(grant.max_seconds * 1000):
        return "used up"
    return "active"


def grants_text(grants: Sequence[tuple[Grant, Usage]], now: datetime) -> str:
    """All permissions of a cameo as a table, newest first."""
    if not grants:
        return note("No permission has been granted yet, so nothing can be rendered with this cameo.", "wait")
    rows = "".join(
        f'<tr class="{"on" if state == "active" else "off"}"><td>{escape(grant.purpose)}</td>'
        f"<td>{escape(grant.grantee)}</td>"
        f"<td>{used.milliseconds / 1000:.1f} of {grant.max_seconds:g} s, {used.renders} of {grant.max_renders}</td>"
        f"<td>{grant.expires:%Y-%m-%d %H:%M} UTC</td><td><b>{state}</b></td></tr>"
        for grant, used in reversed(grants)
        for state in [grant_state(grant, used, now)]
    )
    head = "<tr><th>Purpose</th><th>For</th><th>Used: length, renders</th><th>Until</th><th>State</th></tr>"
    return f'<div class="scroll"><table class="grants"><thead>{head}</thead><tbody>{rows}</tbody></table></div>'


def grant_label(grant: Grant) -> str:
    """One line for a list of active permissions."""
    return f"{grant.purpose}, up to {grant.max_seconds:g} s, until {grant.expires:%Y-%m-%d %H:%M} UTC"


_STAGES = MappingProxyType(
    {
        "portrait": "Looking at the portrait",
        "consent": "Asking for consent",
        "motion": "Reading the motion",
        "denoise": "Denoising",
        "animate": "Making frames",
        "sign": "Signing and verifying",
        "done": "Finishing",
    }
)


def profile_text(profile: str, *, installed: bool) -> str:
    """What is to be known of a model before it is used."""
    if profile == "lite":
        return ""
    if not installed:
        return note(
            "The weights of X-Portrait 2 are other people's work and are not part of this program. To get them, run "
            "'portrait-anim weights fetch xportrait2', then 'portrait-anim weights convert xportrait2', and choose the "
            "model again.",
            "bad",
        )
    return note(
        "X-Portrait 2 takes minutes per second of video on a graphics card, and hours without one. Its motion comes as "
        "a whole, so gains and parts of the face do not apply.",
        "wait",
    )


def stage_text(stage: str) -> str:
    """What `Progress.stage` means, in words."""
    return _STAGES.get(stage, stage)


def record_text(result: RenderResult, cameo: Cameo) -> str:
    """Whose likeness, under which permission, and where it is recorded."""
    kind = "a real person, verified" if cameo.kind == "real" else "nobody real, by the operator's statement"
    return facts_text(
        (
            ("Cameo", f"{cameo.name} ({kind})"),
            ("Cameo id", result.cameo_id),
            ("Grant", result.grant_id),
            ("Permit", result.permit_id),
            ("Ledger row", str(result.ledger_row)),
            ("Seed", str(result.seed)),
            ("SHA-256", result.sha256),
            ("File", str(result.path)),
        )
    )


def facts_text(facts: Iterable[tuple[str, str]]) -> str:
    """Names and values, one below the other."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return f'<dl class="facts">{rows}</dl>'


def findings_text(findings: Sequence[str], *, ok: bool) -> str:
    """What `verify` found, with its overall result on top."""
    head = note(
        "Verified: no doubt was found." if ok else "There is a doubt; read the findings.", "good" if ok else "bad"
    )
    items = "".join(f"<li>{escape(finding)}</li>" for finding in findings)
    return f'{head}<ul class="findings">{items}</ul>'


def progress_text(stage: str, done: int, total: int | None, elapsed_s: float) -> str:
    """A progress bar with its stage, count and the time still needed."""
    share = min(1.0, done / total) if total else 0.0
    count = f"{done} of {total}" if total else (str(done) if done else "")
    left = ""
    if total and 0 < done < total and elapsed_s > 1:
        left = f"about {_duration((total - done) * elapsed_s / done)} left"
    width = f"{100 * share:.1f}%" if total else "100%"
    return (
        f'<div class="progress" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * share:.0f}"><div class="bar{"" if total else " busy"}" style="width:{width}"></div>'
        f'</div><p class="progress-line"><b>{escape(stage.capitalize())}</b> {count}'
        f'<span class="dim">{left}</span></p>'
    )


def _duration(seconds: float) -> str:
    """A rough length of time in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"
