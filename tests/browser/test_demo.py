"""The demo page in a real browser: upload, enrol, grant, generate, watch; record with the camera; stop."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import pytest

from portrait_anim.provenance.verify import verify
from portrait_anim.weights import samples_dir

pytest.importorskip("gradio", reason="the demo extra is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH"),
]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]
START_S, LOOK_S, RENDER_S = 120, 120, 400
COMMAND = "import sys; from portrait_anim.cli import main; sys.argv[0] = 'portrait-anim'; main()"


@dataclass(frozen=True)
class Demo:
    """A running demo."""

    url: str
    home: Path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    home = tmp_path_factory.mktemp("demo") / "home"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", COMMAND, "demo", "--home", str(home), "--port", str(port), "--no-open"]
    log = home.with_name("log.txt")
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            url = f"http://127.0.0.1:{port}/"
            _wait_until_served(url, process, log)
            yield Demo(url=url, home=home)
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait_until_served(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (URLError, TimeoutError):
            time.sleep(0.5)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: sync_api.Browser, demo: Demo) -> Iterator[sync_api.Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(LOOK_S * 1000)
    asked: list[str] = []
    broken: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: broken.append(str(error)))
    opened.goto(demo.url)
    opened.wait_for_selector("#generate")
    yield opened
    context.close()
    foreign = [url for url in asked if not url.startswith((demo.url, "blob:", "data:"))]
    assert foreign == [], "the page must work offline"
    assert broken == []


def _upload(page: sync_api.Page, card: str, name: str) -> None:
    page.set_input_files(f"#{card} input[type=file]", samples_dir() / name)
    page.wait_for_selector(f"#{card}-note .note.good")


def _enrol_and_grant(page: sync_api.Page) -> None:
    page.get_by_role("tab", name="fictional").click()
    page.locator("#fictional-name input, #fictional-name textarea").fill("Sample actor")
    page.locator("#statement textarea").fill("Rendered by our own code; this person does not exist.")
    page.click("#enrol-fictional")
    page.wait_for_selector("#permission .note.wait")
    assert page.locator("#generate").is_disabled(), "enrolling must not allow anything"
    page.locator("#purpose input, #purpose textarea").fill("browser test")
    page.click("#grant")
    page.wait_for_selector("#grants tr.on")


def _generate(page: sync_api.Page, *, end_s: str) -> None:
    page.get_by_role("button", name="Quality, seed").click()
    page.locator("#end input").fill(end_s)
    page.locator("#end input").press("Tab")
    page.wait_for_selector("#generate:not([disabled])")
    page.click("#generate")


def test_from_upload_to_a_playable_video(page: sync_api.Page, demo: Demo, tmp_path: Path) -> None:
    _upload(page, "portrait", "portrait.jpg")
    _upload(page, "clip", "driving.mp4")
    _enrol_and_grant(page)
    _generate(page, end_s="1")
    page.wait_for_selector("#preview img", timeout=RENDER_S * 1000)
    page.wait_for_selector("#status .note.good, #status .note.bad", timeout=RENDER_S * 1000)
    assert "Finished" in page.inner_text("#status")
    page.wait_for_function("document.querySelector('#result video')?.readyState >= 2")
    seconds = page.evaluate("document.querySelector('#result video').duration")
    assert seconds == pytest.approx(1.0, abs=0.1)
    page.evaluate("document.querySelector('#result video').play()")
    page.wait_for_function("document.querySelector('#result video').currentTime > 0.3")
    assert page.evaluate("document.querySelector('#result video').webkitAudioDecodedByteCount") > 0
    page.wait_for_function("document.querySelector('#sheet img')?.naturalWidth > 0")

    findings, record = page.inner_text("#findings"), page.inner_text("#record")
    assert "Verified: no doubt was found." in findings
    assert "Unaltered" in findings
    assert "gra_" in record
    assert "Sample actor" in record
    with page.expect_download() as waiting:
        page.click("#download")
    waiting.value.save_as(tmp_path / "downloaded.mp4")
    assert verify(tmp_path / "downloaded.mp4", home=demo.home).ok
    assert "1 of 10" in page.inner_text("#grants")


def test_cancel_stops_and_leaves_nothing(page: sync_api.Page, demo: Demo) -> None:
    before = sorted((demo.home / "renders").glob("**/*"))
    page.click("#sample-portrait")
    page.click("#sample-clip")
    page.wait_for_selector("#portrait-note .note.good")
    page.wait_for_selector("#clip-note .note.good")
    _enrol_and_grant(page)
    _generate(page, end_s="5")
    page.wait_for_selector("#status .progress")
    page.click("#cancel")
    page.wait_for_selector("#status .note.wait", timeout=RENDER_S * 1000)
    assert "Cancelled" in page.inner_text("#status")
    page.wait_for_selector("#generate:not([disabled])")
    assert sorted((demo.home / "renders").glob("**/*")) == before


def test_a_closed_page_stops_its_render(browser: sync_api.Browser, demo: Demo) -> None:
    renders = demo.home / "renders"
    before = sorted(renders.glob("**/*"))
    opened = browser.new_page()
    opened.set_default_timeout(LOOK_S * 1000)
    opened.goto(demo.url)
    opened.click("#sample-portrait")
    opened.click("#sample-clip")
    opened.wait_for_selector("#portrait-note .note.good")
    opened.wait_for_selector("#clip-note .note.good")
    _enrol_and_grant(opened)
    _generate(opened, end_s="6")
    opened.wait_for_selector("#status :text('Making frames')", timeout=RENDER_S * 1000)
    assert sorted(renders.glob("**/*")) != before
    opened.close()
    deadline = time.monotonic() + LOOK_S
    while sorted(renders.glob("**/*")) != before:
        assert time.monotonic() < deadline, "the render went on without its page"
        time.sleep(0.5)


def test_bad_input_is_told_in_plain_words(page: sync_api.Page, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("these are notes")
    page.set_input_files("#portrait input[type=file]", tmp_path / "notes.jpg")
    page.wait_for_selector("#portrait-note .note.bad")
    assert "notes.jpg" in page.inner_text("#portrait-note")
    assert "Traceback" not in page.inner_text("body")
    page.get_by_role("tab", name="fictional").click()
    page.click("#enrol-fictional")
    page.wait_for_selector(".toast-wrap :text('expected a')")


def test_a_challenge_is_recorded_with_the_camera(page: sync_api.Page) -> None:
    page.click("#sample-portrait")
    page.get_by_role("tab", name="real").click()
    page.locator("#real-name input, #real-name textarea").fill("Ada")
    page.check("#adult input")
    page.click("#issue")
    page.wait_for_selector("#challenge li")
    assert page.locator("#challenge li").count() >= 5
    page.wait_for_function("/^[0-9]+:[0-9]{2}$/.test(document.querySelector('.countdown').textContent)")
    page.get_by_text("Click to Access Webcam").click()
    page.locator("#challenge-video").get_by_role("button").filter(has_text="Record").click()
    page.click("#challenge button.lead")
    page.wait_for_selector("#leading:has-text('Look ahead')")
    page.wait_for_selector("#sky span")
    page.wait_for_selector("#leading:has-text('Say aloud')")
    page.wait_for_selector("#leading:has-text('Stop the recording')")
    page.locator("#challenge-video").get_by_role("button").filter(has_text="Stop").click()
    page.wait_for_selector("#challenge-video video[src]")
    page.click("#verify-challenge")
    # The browser's fake camera shows a test pattern, which is nobody.
    page.wait_for_selector(".toast-wrap :text('face')", timeout=900_000)


@pytest.mark.parametrize("width", [360, 390, 768])
def test_nothing_sticks_out_on_a_small_screen(page: sync_api.Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width < 390:
        return  # Gradio moves tabs that do not fit into a menu
    for tab in ("Enrolled", "Add fictional", "Add real"):
        box = page.get_by_role("tab", name=tab).bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= width
