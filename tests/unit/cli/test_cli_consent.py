from __future__ import annotations

import hashlib
import io
import json
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from portrait_anim.cli import app
from portrait_anim.consent.inbox import add_thumbnail
from portrait_anim.consent.permit import authorise
from portrait_anim.consent.records import RenderRequest
from portrait_anim.consent.registry import enroll_fictional
from portrait_anim.consent.renders import record_render
from portrait_anim.consent.store import open_store
from portrait_anim.consent.withdrawal import check_list
from portrait_anim.types import IdentityEmbedding

SAMPLES = Path(__file__).parents[3] / "demo" / "samples"
FACE = IdentityEmbedding(vector=np.random.default_rng(1).normal(size=128).astype(np.float32), backend="dlib")
LIMITS = ["--expires", "30d", "--purpose", "film", "--max-renders", "3", "--max-seconds", "60"]


def run(home: Path, *words: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [*map(str, words), "--home", str(home), "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def say(home: Path, *words: object, given: str = "") -> Any:
    return CliRunner().invoke(app, [*map(str, words), "--home", str(home)], input=given)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def cameo(home: Path) -> str:
    with open_store(home) as store:
        return enroll_fictional(
            store, name="Nobody", statement="Painted.", portrait_embedding=FACE, portrait_digest="ab" * 32,
            now=datetime.now(timezone.utc),
        ).id  # fmt: skip


@pytest.fixture
def permit(home: Path, cameo: str, tmp_path: Path) -> str:
    """A finished render with a file and a picture, made under a grant of the command line."""
    run(home, "grant", "give", cameo, *LIMITS)
    asked = RenderRequest(
        cameo_id=cameo, portrait_digest="ab" * 32, portrait_embedding=FACE, grantee="operator", purpose="film",
        context="animate", duration_s=2.0, profile="lite",
    )  # fmt: skip
    film, picture, now = tmp_path / "film.mp4", io.BytesIO(), datetime.now(timezone.utc)
    Image.new("RGB", (64, 64), (200, 10, 10)).save(picture, "PNG")
    film.write_bytes(b"film")
    with open_store(home) as store:
        given = authorise(store, asked, now=now)
        record_render(
            store, given, output_digest=hashlib.sha256(b"film").hexdigest(), duration_s=2.0, num_frames=50,
            now=now + timedelta(milliseconds=1), output=film,
        )  # fmt: skip
        add_thumbnail(store, given.id, picture.getvalue())
    return given.id


def test_a_grant_is_given_read_confirmed_and_ended(home: Path, cameo: str) -> None:
    forbidden = ["--forbid", "No adverts", "--forbid", "No politics"]
    made = run(home, "grant", "give", cameo, *LIMITS, *forbidden, "--label", "large")
    assert (made["forbidden"], made["level"], made["label_size"]) == ("No adverts\nNo politics", "person", "large")
    assert [grant["id"] for grant in run(home, "grant", "list", "--grantee", "operator")] == [made["id"]]
    assert run(home, "grant", "list", "--grantee", "eve") == []
    assert run(home, "grant", "show", made["id"])["used_renders"] == 0
    assert "No politics" in say(home, "grant", "show", made["id"]).stderr
    asked = say(home, "grant", "acknowledge", made["id"], given="n\n")
    assert (asked.exit_code, "No adverts" in asked.stderr) == (1, True)
    assert run(home, "grant", "acknowledge", made["id"], "--yes")["ledger_row"] == 3
    other = run(home, "grant", "acknowledge", made["id"], "--yes", "--grantee", "eve", code=3)
    assert other["error"]["reason"] == "no_grant"
    assert run(home, "grant", "revoke", made["id"])["revoked_at"]


def test_everyone_can_be_allowed_and_names_nobody(home: Path, cameo: str) -> None:
    made = run(home, "grant", "give", cameo, *LIMITS, "--level", "everyone")
    assert (made["level"], made["grantee"]) == ("everyone", "")
    named = ["--level", "everyone", "--grantee", "eve"]
    for wrong in (["--level", "all"], ["--level", "owner"], named, ["--label", "x"]):
        assert say(home, "grant", "give", cameo, *LIMITS, *wrong).exit_code == 2


def test_the_inbox_shows_marks_and_gives_the_picture(home: Path, cameo: str, permit: str, tmp_path: Path) -> None:
    (use,) = run(home, "inbox", "list", "--cameo", cameo)
    shown = (use["kind"], use["grantee"], use["permit_id"], use["has_thumbnail"])
    assert shown == ("rendered", "operator", permit, True)
    picture = tmp_path / "thumb.png"
    assert run(home, "inbox", "show", use["id"], "-o", picture)["id"] == use["id"]
    with Image.open(picture) as opened:
        assert opened.size == (64, 64)
    assert run(home, "inbox", "read", use["id"])[0]["read_at"]
    assert run(home, "inbox", "list", "--unread") == []
    assert run(home, "inbox", "show", "use_x", code=3)["error"]["reason"] == "no_use"
    assert "film" in say(home, "inbox", "list").stderr


def test_a_render_is_withdrawn_and_listed(home: Path, permit: str, tmp_path: Path) -> None:
    made = run(home, "render", "withdraw", permit, "--reason", "No longer")
    assert (made["permit_id"], made["file_deleted"], (tmp_path / "film.mp4").exists()) == (permit, True, False)
    listed = tmp_path / "withdrawn.json"
    assert run(home, "render", "withdrawn", "-o", listed)["withdrawn"] == [permit]
    document = json.loads(listed.read_text())
    assert check_list(document, operator=bytes.fromhex(document["operator"])) == {permit}
    assert run(home, "render", "withdraw", "per_x", code=3)["error"]["reason"] == "no_permit"


def test_a_copy_of_everything_is_exported_and_everything_erased(
    home: Path, cameo: str, permit: str, tmp_path: Path
) -> None:
    run(home, "cameo", "contact", cameo, "--email", "ada@example.org")
    assert run(home, "cameo", "contact", cameo)["email"] == "ada@example.org"
    path = Path(run(home, "cameo", "export", cameo, "-o", tmp_path / "copy.zip")["path"])
    with zipfile.ZipFile(path) as archive:
        assert "uses.json" in archive.namelist()
    assert run(home, "cameo", "list")[0]["name"] == "Nobody"
    assert run(home, "cameo", "delete", cameo, "--yes", "--withdraw-renders")["name"] == ""
    assert not (tmp_path / "film.mp4").exists()
    assert run(home, "inbox", "list") == []
    assert say(home, "cameo", "contact", cameo, "--email", "no address").exit_code == 2


def test_accounts_come_and_go(home: Path) -> None:
    made = run(home, "account", "add", "--name", "Ada", "--role", "owner", "--days", 2)
    assert made["token"].startswith("pa_")
    account = made["account"]["id"]
    assert run(home, "account", "renew", account)["token"] != made["token"]
    assert [one["name"] for one in run(home, "account", "list")] == ["Ada"]
    assert run(home, "account", "add", "--name", "ada", "--role", "owner", code=3)["error"]["reason"] == "name_taken"
    assert run(home, "account", "disable", account)["disabled_at"]
    assert run(home, "account", "list") == []
    assert len(run(home, "account", "list", "--disabled")) == 1
    assert say(home, "account", "add", "--name", "Eve", "--role", "root").exit_code == 2
    plain = say(home, "account", "add", "--name", "Bob", "--role", "worker")
    assert plain.stdout.startswith("pa_")  # alone on standard output, so that a script can take it


def test_an_enrolment_link_is_made(home: Path) -> None:
    made = run(home, "account", "link", "--name", "Ada", "--address", "https://consent.example.org/")
    assert made["link"].startswith("https://consent.example.org/enrol/")
    assert len(made["link"].rsplit("/", 1)[1]) == 43


def test_the_operator_looks_after_the_store(home: Path, cameo: str, permit: str) -> None:
    assert run(home, "ledger", "checkpoint")["sealed_up_to"] == 4
    done = run(home, "consent", "maintain")
    assert done["checkpoint"] == 4
    assert done["deliveries"] == {"sent": 0, "retried": 0, "given_up": 0}
    rotated = run(home, "consent", "rotate-keys")
    assert (rotated["version"], rotated["old_keys_deleted"]) == (2, True)
    assert run(home, "cameo", "list")[0]["name"] == "Nobody"
    assert run(home, "ledger", "verify")["ok"] is True
    assert run(home, "consent", "private-webhooks", "--allow") == {"private_webhooks": True}
    shown = run(home, "consent", "mail-server", "--host", "localhost", "--sender", "a@b.org", "--password", "hunter2")
    assert "hunter2" not in json.dumps(shown)
    assert run(home, "consent", "mail-server", "--host", "") == {"mail_server": None}
    wrong = ["--host", "mail.example.org", "--sender", "a@b.org", "--security", "none", "--user", "u"]
    assert say(home, "consent", "mail-server", *wrong).exit_code == 2


def test_somebody_is_put_on_the_denylist_and_off_it(home: Path) -> None:
    entry = run(home, "denylist", "add", SAMPLES / "portrait.jpg", "--label", "request 12")
    assert (entry["label"], "embeddings" in entry) == ("request 12", False)
    refused = run(home, "cameo", "enroll-fictional", SAMPLES / "portrait.jpg", "--statement", "Painted.", code=3)
    assert refused["error"]["type"] == "ConsentDenied"
    assert [one["id"] for one in run(home, "denylist", "list")] == [entry["id"]]
    assert run(home, "denylist", "remove", entry["id"])["removed_at"]
    assert run(home, "denylist", "list") == []
    assert len(run(home, "denylist", "list", "--removed")) == 1
    assert run(home, "cameo", "enroll-fictional", SAMPLES / "portrait.jpg", "--statement", "Painted.")["id"]
    assert run(home, "denylist", "add", home / "none.jpg", "--label", "x", code=1)["error"]["type"] == "MediaError"


@pytest.mark.parametrize(
    "words",
    [
        ("grant", "give"), ("grant", "list"), ("grant", "show"), ("grant", "acknowledge"), ("grant", "revoke"),
        ("inbox", "list"), ("inbox", "show"), ("inbox", "read"), ("render", "withdraw"), ("render", "withdrawn"),
        ("denylist", "add"), ("denylist", "list"), ("denylist", "remove"), ("account", "add"), ("account", "renew"),
        ("account", "list"), ("account", "disable"), ("account", "link"), ("consent", "maintain"),
        ("consent", "rotate-keys"), ("consent", "mail-server"), ("consent", "private-webhooks"), ("cameo", "export"),
        ("cameo", "contact"), ("cameo", "grant"), ("cameo", "revoke"), ("ledger", "checkpoint"), ("serve-consent",),
    ],
)  # fmt: skip
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    assert "--home" in result.output


def test_the_service_is_not_offered_to_a_network_without_tls(home: Path) -> None:
    for host in ("0.0.0.0", "::", "consent.example.org"):
        result = say(home, "serve-consent", "--host", host)
        assert (result.exit_code, "TLS" in result.stderr) == (2, True)
    assert say(home, "serve-consent", "--code", "maybe").exit_code == 2
