"""The page that `portrait-anim cameo challenge` writes, opened from disk in a real browser with a made-up camera."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random

import pytest

from portrait_anim.challenge_page import write_page
from portrait_anim.consent.dot import draw_dot_path
from portrait_anim.consent.records import Challenge
from portrait_anim.media.reader import probe

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH"),
]
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
]  # fmt: skip


@pytest.fixture
def written(tmp_path: Path) -> Path:
    now = datetime.now(timezone.utc)
    challenge = Challenge(
        id="cha_0123456789abcdef", name="Ada <b>", nonce="0", actions=("smile", "follow_dot"), issued=now,
        expires=now + timedelta(minutes=10), code="314159", code_policy="required",
        dot_path=draw_dot_path(Random(1)).to_json(),
    )  # fmt: skip
    return write_page(challenge, tmp_path / "page.html", 'portrait-anim cameo enroll --portrait "<me>.jpg"')


@pytest.fixture
def page(written: Path) -> Iterator[sync_api.Page]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        opened = browser.new_context(
            viewport={"width": 1100, "height": 700}, accept_downloads=True, permissions=["camera", "microphone"]
        ).new_page()
        opened.set_default_timeout(120_000)
        asked, broken = [], []
        opened.on("request", lambda request: asked.append(request.url))
        opened.on("pageerror", lambda error: broken.append(str(error)))
        opened.on("console", lambda line: broken.append(line.text) if "Content Security" in line.text else None)
        opened.goto(written.as_uri())
        yield opened
        browser.close()
    assert [url for url in asked if not url.startswith((written.as_uri(), "blob:", "data:"))] == []
    assert broken == []


def test_the_page_leads_through_the_challenge_and_saves_a_recording(page: sync_api.Page, tmp_path: Path) -> None:
    assert page.inner_text("#left").endswith("left")
    assert page.inner_text(".code") == "314159"
    assert '"<me>.jpg"' in page.inner_text("pre")
    assert "Ada" not in page.content()
    with page.expect_download() as saving:
        page.click("#here")
        page.wait_for_selector("#now:has-text('Smile')")
        page.wait_for_selector("#sky span")
        places = set()
        while page.locator("#sky").count():
            places.add(page.evaluate("() => document.querySelector('#sky span')?.style.left"))
            page.wait_for_timeout(100)
        page.wait_for_selector("#now:has-text('3 1 4 1 5 9')")
    assert len(places) > 6
    saved = tmp_path / saving.value.suggested_filename
    saving.value.save_as(saved)
    assert saved.stem == "cha_0123456789abcdef"
    found = probe(saved)
    assert found.has_audio
    assert (found.width, found.height) >= (320, 240)


def test_another_camera_is_only_led(page: sync_api.Page) -> None:
    page.click("#elsewhere")
    page.wait_for_selector("#sky")
    page.wait_for_selector("#told:has-text('Stop your camera now')")
    assert page.locator("#save").is_hidden()


def test_the_camera_is_off_again_when_recording_fails(page: sync_api.Page) -> None:
    page.evaluate("() => { MediaRecorder.prototype.start = () => { throw new Error('no encoder'); }; }")
    page.click("#here")
    page.wait_for_selector("#told:has-text('could not be used')")
    assert page.is_enabled("#elsewhere")
    assert page.evaluate("document.querySelector('#preview').srcObject.active") is False
