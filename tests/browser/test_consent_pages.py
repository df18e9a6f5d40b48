"""The pages of the consent service in a real browser at phone width, served by the real command."""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

from portrait_anim.consent.accounts import create_account
from portrait_anim.consent.grants import list_grants
from portrait_anim.consent.inbox import add_thumbnail, list_uses
from portrait_anim.consent.links import create_link
from portrait_anim.consent.permit import authorise
from portrait_anim.consent.records import RenderRequest
from portrait_anim.consent.registry import enroll_fictional, get_cameo
from portrait_anim.consent.rows import put_cameo
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.types import IdentityEmbedding
from portrait_anim.weights import samples_dir

pytest.importorskip("fastapi", reason="the service needs the extra [service]")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH"),
]
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]  # fmt: skip
START_S, LOOK_S = 120, 240
COMMAND = "import sys; from portrait_anim.cli import main; sys.argv[0] = 'portrait-anim'; main()"
FACE = IdentityEmbedding(vector=np.random.default_rng(1).normal(size=128).astype(np.float32), backend="dlib")


@dataclass(frozen=True)
class Served:
    """A running service with one owner."""

    url: str
    store: ConsentStore
    token: str
    cameo_id: str
    account_id: str


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    home, now = tmp_path / "home", datetime.now(timezone.utc)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open_store(home) as store:
        owner, token = create_account(store, name="Ada", role="owner", now=now)
        cameo = enroll_fictional(
            store, name="Ada", statement="Drawn.", portrait_embedding=FACE, portrait_digest="ab" * 32, now=now
        )
        with store.write() as connection:
            put_cameo(connection, store, replace(cameo, owner_account=owner.id), new=False)
        command = [sys.executable, "-c", COMMAND, "serve-consent", "--home", str(home), "--port", str(port)]
        with (tmp_path / "log.txt").open("wb") as output, subprocess.Popen(command, stderr=output) as process:
            try:
                url = f"http://127.0.0.1:{port}"
                _wait_until_served(url + "/health", process, tmp_path / "log.txt")
                yield Served(url, store, token, cameo.id, owner.id)
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


@pytest.fixture
def page(served: Served) -> Iterator[sync_api.Page]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(
            viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, accept_downloads=True,
            permissions=["camera", "microphone"],
        )  # fmt: skip
        opened = context.new_page()
        opened.set_default_timeout(LOOK_S * 1000)
        asked, broken = [], []
        opened.on("request", lambda request: asked.append(request.url))
        opened.on("pageerror", lambda error: broken.append(str(error)))
        opened.on("console", lambda line: broken.append(line.text) if "Content Security" in line.text else None)
        yield opened
        browser.close()
    assert [url for url in asked if not url.startswith((served.url, "blob:", "data:"))] == []
    assert broken == []


def sign_in(page: sync_api.Page, served: Served) -> None:
    page.goto(served.url)
    page.fill("#token", served.token)
    page.click("#sign-in button")
    page.wait_for_selector(".cameo h2")


def fits(page: sync_api.Page) -> bool:
    """Whether nothing sticks out sideways on a phone."""
    return page.locator("html").evaluate("root => root.scrollWidth <= root.clientWidth")


def test_a_challenge_is_recorded_in_the_page_and_its_result_explained(page: sync_api.Page, served: Served) -> None:
    _, link = create_link(served.store, name="Actor A", now=datetime.now(timezone.utc))
    page.goto(f"{served.url}/enrol/{link}")
    assert fits(page)
    page.set_input_files("#portrait", samples_dir() / "portrait.jpg")
    page.check("[name=adult]")
    page.check("[name=agree]")
    page.click("text=Continue to the video")
    page.wait_for_selector("#steps li[data-action=follow_dot]")  # this browser can show the dot
    assert fits(page)
    page.click("#open")
    page.click("#record")
    page.wait_for_selector("#sky span")
    page.wait_for_selector("#wait:has-text('ready')")
    page.click("#send")
    page.wait_for_selector("h1:has-text('Not enrolled this time')")  # the fake camera shows no face
    assert "No face was found in this video" in page.inner_text("[role=alert]")
    page.click("text=Try again")
    page.wait_for_selector("#portrait")


def test_an_owner_manages_a_cameo(page: sync_api.Page, served: Served) -> None:
    sign_in(page, served)
    assert "Nobody." in page.inner_text(".grants")
    page.click("summary")
    page.fill("[name=grantee]", "Carl")
    page.fill("[name=purpose]", "film <b>bold</b>")
    page.fill("[name=forbidden]", "No adverts\nNothing political")
    page.fill("[name=expires]", f"{datetime.now() + timedelta(days=3):%Y-%m-%d}")
    page.click("text=Allow this")
    page.wait_for_selector(".grants .card")
    assert "film <b>bold</b>" in page.inner_text(".grants")
    (given,) = list_grants(served.store, served.cameo_id)
    assert (given.grantee, given.forbidden, given.label_size) == ("Carl", "No adverts\nNothing political", "medium")
    page.click("text=End this permission")
    page.wait_for_selector(".grants .card:has-text('revoked')")
    assert list_grants(served.store, served.cameo_id)[0].revoked_at is not None
    page.fill(".contact [name=webhook]", "https://10.0.0.1/")
    page.click(".contact button")
    page.wait_for_selector("#problem:has-text('public')")
    assert fits(page)


def test_an_owner_sees_a_use_withdraws_it_exports_and_erases(page: sync_api.Page, served: Served) -> None:
    now, store = datetime.now(timezone.utc), served.store
    from portrait_anim.consent.grants import grant

    grant(
        store, served.cameo_id, grantee="", level="owner", purpose="film", allowed_contexts=["animate"],
        expires=now + timedelta(days=1), max_renders=1, max_seconds=9, now=now,
    )  # fmt: skip
    asked = RenderRequest(
        cameo_id=served.cameo_id, portrait_digest="ab" * 32, portrait_embedding=FACE, grantee=served.account_id,
        purpose="film", context="animate", duration_s=2.0, profile="lite",
    )  # fmt: skip
    permit = authorise(store, asked, now=datetime.now(timezone.utc))
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 10, 10)).save(picture, "PNG")
    add_thumbnail(store, permit.id, picture.getvalue())
    sign_in(page, served)
    page.wait_for_selector(".uses img")
    page.click("text=Mark as read")
    page.wait_for_selector(".uses .card:not(.unread)")
    page.click("text=Withdraw this video")
    page.wait_for_selector(".uses .card:has-text('was withdrawn')")
    assert list_uses(store)[0].kind == "withdrawn"
    with page.expect_download() as download:
        page.click(".export")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert "uses.json" in archive.namelist()
    page.fill("[name=confirmation]", served.cameo_id)
    page.click("text=Erase my cameo")
    page.wait_for_selector("#told:has-text('Only the record')")
    assert get_cameo(store, served.cameo_id).status == "deleted"
    page.reload()
    page.wait_for_selector("#problem:visible")  # the key opens nothing any more
