from __future__ import annotations

import html
import json
import os
import re
import shlex
import sqlite3
import webbrowser
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from portrait_anim.cli import app
from portrait_anim.consent.dot import DotPath
from portrait_anim.consent.registry import enroll_fictional
from portrait_anim.consent.store import open_store
from portrait_anim.types import IdentityEmbedding
from portrait_anim.weights import samples_dir

PORTRAIT = samples_dir() / "portrait.jpg"
LIMITS = ["--expires", "30d", "--purpose", "film", "--max-renders", "3", "--max-seconds", "60"]


def run(*words: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def cameo(home: Path) -> str:
    vector = np.random.default_rng(1).normal(size=128).astype(np.float32)
    with open_store(home) as store:
        return enroll_fictional(
            store,
            name="Nobody",
            statement="Painted.",
            portrait_embedding=IdentityEmbedding(vector=vector, backend="dlib"),
            portrait_digest="ab" * 32,
            now=datetime.now(timezone.utc),
        ).id


def test_a_challenge_is_issued_with_its_steps(home: Path) -> None:
    first, second = (
        run("cameo", "challenge", "--name", "Eve", "--portrait", PORTRAIT, "--adult", "--home", home) for _ in range(2)
    )
    assert len(set(first["actions"])) == 5
    assert first["id"] != second["id"]
    assert datetime.fromisoformat(first["expires"]) > datetime.now(timezone.utc)


def test_the_command_that_answers_a_challenge_works_as_it_is_printed(home: Path, tmp_path: Path) -> None:
    """With the home folder and the choice of the face, without which it would refuse."""
    portrait = tmp_path / "my photo.jpg"
    portrait.write_bytes(PORTRAIT.read_bytes())
    asked = ["cameo", "challenge", "--name", "Eve", "--portrait", str(portrait), "--adult", "--home", str(home)]
    done = CliRunner().invoke(app, [*asked, "--face", "largest", "--no-open"])
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Then: portrait-anim ")]
    words = shlex.split(line.removeprefix("Then: portrait-anim "))
    assert (words[-1], words[words.index("--face") + 1]) == ("VIDEO", "largest")
    refused = CliRunner().invoke(app, [*words[:-1], str(portrait)])
    assert "expected a challenge video" not in refused.output
    assert ("no_challenge" in refused.output, refused.exit_code) == (False, 1)  # known here; the photo is no video


def test_ids_stay_whole_in_narrow_tables(home: Path, cameo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    made = run("cameo", "grant", cameo, "--home", home, *LIMITS, "--forbid", "no adverts", "--grantee", "Bob B")
    for words in (["grant", "list"], ["cameo", "show", cameo]):
        shown = CliRunner().invoke(app, [*words, "--home", str(home)])
        assert made["id"] in shown.stderr


@pytest.mark.parametrize(("words", "dot", "digits"), [((), True, 6), (("--no-dot", "--code", "off"), False, 0)])
def test_the_page_of_a_challenge_shows_all_that_is_asked(
    home: Path, tmp_path: Path, words: tuple[str, ...], dot: bool, digits: int
) -> None:
    page = tmp_path / "pages" / "page.html"
    asked = ["cameo", "challenge", "--name", "Eve", "--portrait", PORTRAIT, "--adult", "--home", home, *words]
    issued = run(*asked, "--page", page)
    assert (("follow_dot" in issued["actions"]), len(issued["code"])) == (dot, digits)
    shown = page.read_text(encoding="utf-8")
    assert re.findall(r'<li data-action="(\w+)">', shown) == issued["actions"]
    corners = json.loads(html.unescape(re.search(r'data-dot="([^"]*)"', shown)[1]))
    assert [tuple(corner) for corner in corners] == (list(DotPath.from_json(issued["dot_path"]).keys()) if dot else [])
    assert re.search(r'data-code="(\d*)"', shown)[1] == issued["code"]
    assert "Eve" not in shown
    assert issued["id"] in shown


@pytest.mark.parametrize(("words", "kind", "opened"), [
    ((), webbrowser.BackgroundBrowser, 1), (("--no-open",), webbrowser.BackgroundBrowser, 0),
    ((), webbrowser.GenericBrowser, 0), ((), webbrowser.Elinks, 0),
])  # fmt: skip
def test_the_page_is_opened_on_a_desktop_only(
    home: Path, words: tuple[str, ...], kind: type, opened: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses: list[str] = []
    browser = kind("browser")
    monkeypatch.setattr(browser, "open", addresses.append)
    monkeypatch.setattr(webbrowser, "get", lambda: browser)
    asked = ["cameo", "challenge", "--name", "Eve", "--portrait", PORTRAIT, "--adult", "--home", home, *words]
    result = CliRunner().invoke(app, [*map(str, asked)])
    assert result.exit_code == 0
    assert len(addresses) == opened
    assert all(address.startswith("file:") and address.endswith(".html") for address in addresses)


def test_a_page_that_cannot_be_written_is_said(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    asked = ["cameo", "challenge", "--name", "Eve", "--portrait", PORTRAIT, "--adult", "--home", home]
    result = CliRunner().invoke(app, [*map(str, asked), "--page", str(tmp_path / "file" / "page.html"), "--json"])
    assert result.exit_code not in (0, 2)
    assert "page.html" in result.stderr
    assert "Traceback" not in result.stderr


def test_pages_of_former_challenges_are_removed(home: Path) -> None:
    asked = ["cameo", "challenge", "--name", "Eve", "--portrait", PORTRAIT, "--adult", "--home", home]
    first = Path(run(*asked)["page"])
    assert first.parent.parent == home
    os.utime(first, (1, 1))
    second = Path(run(*asked)["page"])
    assert (first.exists(), second.exists()) == (False, True)


def test_an_empty_name_is_a_usage_error(home: Path) -> None:
    asked = ["cameo", "challenge", "--name", " ", "--portrait", str(PORTRAIT), "--adult", "--home", str(home)]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 2
    assert "name" in result.stderr


def test_a_cameo_goes_from_grant_to_deletion(home: Path, cameo: str) -> None:
    assert [item["id"] for item in run("cameo", "list", "--home", home)] == [cameo]
    grant = run("cameo", "grant", cameo, *LIMITS, "--context", "scene", "--context", "animate", "--home", home)
    assert (grant["grantee"], grant["allowed_contexts"]) == ("operator", ["scene", "animate"])
    shown = run("cameo", "show", cameo, "--home", home)
    assert [item["id"] for item in shown["grants"]] == [grant["id"]]
    assert not [name for name in shown["cameo"] if "embedding" in name]
    assert run("cameo", "revoke", grant["id"], "--home", home)["revoked_at"]
    assert run("cameo", "delete", cameo, "--yes", "--home", home)["status"] == "deleted"
    assert run("cameo", "list", "--home", home) == []
    assert len(run("cameo", "list", "--deleted", "--home", home)) == 1
    kinds = [row["kind"] for row in run("ledger", "show", "--home", home)]
    assert kinds == ["enrolled_fictional", "granted", "revoked", "deleted"]
    assert run("ledger", "verify", "--home", home) == {"ok": True, "rows": 4}


def test_deleting_asks_first(home: Path, cameo: str) -> None:
    result = CliRunner().invoke(app, ["cameo", "delete", cameo, "--home", str(home)], input="n\n")
    assert result.exit_code == 1
    assert run("cameo", "show", cameo, "--home", home)["cameo"]["status"] == "active"


@pytest.mark.parametrize(
    "words", [("show", "cam_0"), ("revoke", "gra_0"), ("grant", "cam_0", *LIMITS), ("delete", "cam_0", "--yes")]
)
def test_unknown_ids_are_refused_with_code_3(home: Path, words: tuple[str, ...]) -> None:
    assert run("cameo", *words, "--home", home, code=3)["error"]["type"] == "ConsentDenied"


@pytest.mark.parametrize(
    "change", [("--expires", "yesterday"), ("--expires", "2001-01-01"), ("--max-renders", "0"), ("--max-seconds", "-1")]
)
def test_senseless_limits_are_usage_errors(home: Path, cameo: str, change: tuple[str, str]) -> None:
    result = CliRunner().invoke(app, ["cameo", "grant", cameo, *LIMITS, *change, "--home", str(home)])
    assert result.exit_code == 2


def test_an_edited_ledger_is_found_with_code_4(home: Path, cameo: str) -> None:
    with sqlite3.connect(home / "consent.db") as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("UPDATE ledger SET kind = 'note'")
    connection.close()
    assert run("ledger", "verify", "--home", home, code=4)["error"]["type"] == "LedgerTampered"


def test_the_home_comes_from_the_environment_too(home: Path, cameo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_ANIM_HOME", str(home))
    assert [item["id"] for item in run("cameo", "list")] == [cameo]
