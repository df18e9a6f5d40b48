"""Words of the page."""

from datetime import datetime, timedelta, timezone

import pytest

from portrait_anim.consent.records import Cameo, Challenge, Grant, Usage

wording = pytest.importorskip("portrait_anim_demo.wording", reason="the demo is not installed")

NOW = datetime(2030, 1, 2, tzinfo=timezone.utc)


def make_grant(**changes) -> Grant:
    values = {
        "id": "gra_1",
        "cameo_id": "cam_1",
        "grantee": "operator",
        "purpose": "<b>ads</b>",
        "allowed_contexts": ("animate",),
        "created": NOW,
        "expires": NOW + timedelta(days=1),
        "max_renders": 2,
        "max_seconds": 10.0,
    }
    return Grant(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "used", "state"),
    [
        ({}, Usage(), "active"),
        ({"revoked_at": NOW}, Usage(), "revoked"),
        ({"expires": NOW}, Usage(), "expired"),
        ({}, Usage(renders=2), "used up"),
        ({}, Usage(milliseconds=10_000), "used up"),
    ],
)
def test_state_of_a_grant(changes: dict, used: Usage, state: str) -> None:
    assert wording.grant_state(make_grant(**changes), used, NOW) == state


def test_what_users_typed_cannot_become_markup() -> None:
    cameo = Cameo(
        id="cam_1", name="<i>x</i>", kind="fictional", portrait_digest="", portrait_embeddings=(), created=NOW,
        statement="<s>",
    )  # fmt: skip
    page = (
        wording.cameo_text(cameo)
        + wording.grants_text([(make_grant(), Usage())], NOW)
        + wording.note("<u>")
        + wording.findings_text(["<em>"], ok=False)
    )
    for tag in ("<i>", "<s>", "<b>ads", "<u>", "<em>"):
        assert tag not in page


def test_every_step_of_a_challenge_has_a_result() -> None:
    challenge = Challenge(
        id="cha_1",
        name="Ada",
        nonce="0",
        actions=("smile", "turn_left", "blink_twice"),
        issued=NOW,
        expires=NOW + timedelta(minutes=10),
    )
    text = wording.steps_text(challenge, ["step 2 (turn your head to your left) was not seen", "too few frames"])
    assert text.count('class="pass"') == 2
    assert text.count('class="fail"') == 2
    assert f'data-deadline="{challenge.expires.timestamp():.0f}"' in wording.challenge_text(challenge)


def test_progress_says_how_far_and_how_long() -> None:
    text = wording.progress_text("Making frames", 25, 100, 10.0)
    assert "25 of 100" in text
    assert "about 30 s left" in text
    assert 'aria-valuenow="25"' in text
    assert "left" not in wording.progress_text("Signing", 0, None, 10.0)
