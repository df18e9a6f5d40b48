import io
import json
import os
import zipfile
from dataclasses import replace
from datetime import timedelta

import pytest
from PIL import Image

from portrait_anim.consent.accounts import account_of, create_account, get_account
from portrait_anim.consent.export import export_cameo
from portrait_anim.consent.grants import list_grants
from portrait_anim.consent.inbox import add_thumbnail, list_uses
from portrait_anim.consent.ledger import Ledger, append_row, verify
from portrait_anim.consent.maintenance import maintain
from portrait_anim.consent.notify import Contact, deliver_due, set_contact
from portrait_anim.consent.permit import authorise
from portrait_anim.consent.records import Cameo
from portrait_anim.consent.registry import delete_cameo
from portrait_anim.consent.retention import RetentionReport, erase_due
from portrait_anim.consent.rows import find_challenge, put_cameo, put_challenge
from portrait_anim.consent.sealed_files import seal_file
from portrait_anim.consent.service_records import ChallengeVideo
from portrait_anim.consent.service_rows import find_challenge_videos, put_challenge_video
from portrait_anim.consent.withdrawal import withdraw
from portrait_anim.errors import ConsentDenied, ConsentError

NAME = "Ada Lovelace-Zyx"
SECRETS = (NAME, "ada@example.org", "Grantee Bobxyz", "Neveradvertzyx", "Becausezyx", "Filmzyx")


@pytest.fixture
def ada(store, challenge, someone, digest, now, ask):
    """A person of whom everything is kept: challenge, video, account, and later grants, uses, messages, contact."""
    account, token = create_account(store, name=NAME, role="owner", now=now)
    answered = replace(challenge("smile"), name=NAME, portrait_digest=digest(1), purpose="Filmzyx")
    cameo = Cameo(
        id="cam_00000000000000ad", name=NAME, kind="real", portrait_digest=digest(1),
        portrait_embeddings=(someone(1),), video_embeddings=(someone(1, age=0.1),), created=now,
        owner_account=account.id,
    )  # fmt: skip
    video = ChallengeVideo(
        id="vid_1", challenge_id=answered.id, sha256="cd" * 32, fingerprint=b"fingerprintzyx", stored_file="",
        received=now, erase_after=now + timedelta(days=30),
    )  # fmt: skip
    with store.write() as connection:
        put_challenge(connection, store, answered)
        put_challenge_video(connection, store, video, new=True)
        put_cameo(connection, store, cameo, new=True)
        append_row(
            connection, store, "enrolled", now=now, cameo_id=cameo.id, challenge_id=answered.id, payload={}
        )
    set_contact(store, cameo.id, Contact(email="ada@example.org"))
    return cameo, account, token


@pytest.fixture
def used(store, ada, give, ask, now):
    cameo, _, _ = ada
    give(cameo.id, grantee="Grantee Bobxyz", forbidden="", purpose="film")
    give(cameo.id, grantee="Grantee Bobxyz", forbidden="Neveradvertzyx")
    permit = authorise(store, ask(cameo.id, grantee="Grantee Bobxyz"), now=now)
    made = io.BytesIO()
    Image.new("RGB", (64, 64), (1, 2, 3)).save(made, "PNG")
    add_thumbnail(store, permit.id, made.getvalue())
    withdraw(store, permit.id, now, reason="Becausezyx")
    with pytest.raises(ConsentDenied):
        authorise(store, ask(cameo.id, grantee="Grantee Bobxyz", purpose="other"), now=now)
    return permit


def test_deletion_erases_every_trace_and_the_ledger_proves_it(store, ada, used, now):
    cameo, account, token = ada
    delete_cameo(store, cameo.id, now=now)
    assert list_uses(store) == []
    with store.read() as connection:
        assert find_challenge(connection, store, "cha_0").name == ""
        (video,) = find_challenge_videos(connection, store, challenge_id="cha_0")
    # The digest stays, so that a stolen copy of the video cannot be handed in again.
    assert (video.sha256, video.fingerprint, video.erased_at) == ("cd" * 32, None, now)
    assert [(given.grantee, given.forbidden) for given in list_grants(store, cameo.id)] == [("", "")] * 2
    assert account_of(store, token, now) is None
    assert get_account(store, account.id).name == ""
    (row,) = Ledger(store).rows(kind="deleted")
    assert dict(row.payload) == {
        "erased_templates": 2, "erased_names": 2, "erased_portrait": cameo.portrait_digest,
        "erased_videos": ["cd" * 32], "erased_thumbnails": 1, "erased_uses": 2, "erased_messages": 3,
        "erased_settings": 1, "erased_accounts": 1,
    }  # fmt: skip
    verify(store)


def test_nothing_personal_is_left_in_any_file(store, ada, used, now, database):
    cameo, _, _ = ada
    delete_cameo(store, cameo.id, now=now)
    for path in store.home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [secret for secret in SECRETS if secret.encode() in content], path
    left = database.query(
        "SELECT (SELECT count(*) FROM uses) + (SELECT count(*) FROM outbox) + (SELECT count(*) FROM settings), "
        "(SELECT name FROM challenges), (SELECT template FROM cameos), (SELECT fingerprint FROM challenge_videos)"
    )
    assert left == [(0, None, None, None)]


def test_an_account_with_another_cameo_keeps_it(store, ada, someone, digest, now):
    cameo, _account, token = ada
    second = replace(cameo, id="cam_00000000000000ae", portrait_digest=digest(5), video_embeddings=(someone(5),))
    with store.write() as connection:
        put_cameo(connection, store, second, new=True)
    delete_cameo(store, cameo.id, now=now)
    assert account_of(store, token, now).name == NAME
    delete_cameo(store, second.id, now=now)
    assert account_of(store, token, now) is None


def test_an_export_holds_everything_about_the_person(store, ada, used, tmp_path, now):
    cameo, account, _ = ada
    path = export_cameo(store, cameo.id, tmp_path / "ada.zip", now=now)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    read = {name: json.loads(content) for name, content in files.items() if name.endswith(".json")}
    assert read["cameo.json"]["cameo"]["name"] == NAME
    for source in ("portrait_embeddings", "video_embeddings"):
        assert len(read["cameo.json"]["cameo"][source][0]["vector"]) == 128
    assert read["challenges.json"]["videos"][0]["sha256"] == "cd" * 32
    assert {given["grantee"] for given in read["grants.json"]} == {"Grantee Bobxyz"}
    assert [use["kind"] for use in read["uses.json"]] == ["refused", "withdrawn"]
    picture = next(use["thumbnail"] for use in read["uses.json"] if use["thumbnail"])
    with Image.open(io.BytesIO(files[picture])) as small:
        assert small.size == (64, 64)
    assert read["withdrawals.json"]["withdrawals"][0]["reason"] == "Becausezyx"
    assert read["contact.json"]["email"] == "ada@example.org"
    assert read["account.json"][0]["name"] == NAME
    assert account.token_digest not in files["account.json"].decode()
    kinds = {row["kind"] for row in read["ledger.json"]}
    assert kinds == {"enrolled", "granted", "authorised", "withdrawn", "refused"}
    assert all(row["cameo_id"] == cameo.id for row in read["ledger.json"])
    assert [row.cameo_id for row in Ledger(store).rows(kind="exported")] == [cameo.id]
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


def test_an_export_of_one_person_holds_nothing_of_another(store, ada, used, someone, digest, give, ask, tmp_path, now):
    other = replace(
        ada[0], id="cam_00000000000000be", name="Ben", portrait_digest=digest(5), video_embeddings=(someone(5),)
    )
    with store.write() as connection:
        put_cameo(connection, store, other, new=True)
    give(other.id, grantee="Grantee Bobxyz")
    asked = ask(other.id, grantee="Grantee Bobxyz", portrait_digest=digest(5), portrait_embedding=someone(5))
    authorise(store, asked, now=now)
    with zipfile.ZipFile(export_cameo(store, ada[0].id, tmp_path / "ada.zip", now=now)) as archive:
        for name in archive.namelist():
            assert other.id not in archive.read(name).decode("latin-1")


@pytest.fixture
def kept(store, ada, tmp_path):
    """The encrypted copy of Ada's challenge video."""
    folder = store.home / "challenge_videos"
    folder.mkdir()
    key = seal_file([b"moving picturezyx"], folder / "one.sealed")
    with store.write() as connection:
        (video,) = find_challenge_videos(connection, store, challenge_id="cha_0")
        due = video.received + timedelta(days=30)
        video = replace(video, stored_file="challenge_videos/one.sealed", file_key=key, erase_after=due)
        put_challenge_video(connection, store, video, new=False)
    return folder / "one.sealed"


def test_the_export_holds_the_video_while_it_is_kept(store, ada, kept, tmp_path, now):
    with zipfile.ZipFile(export_cameo(store, ada[0].id, tmp_path / "ada.zip", now=now)) as archive:
        assert archive.read("videos/vid_1") == b"moving picturezyx"


def test_a_deletion_erases_the_video_too(store, ada, kept, now):
    delete_cameo(store, ada[0].id, now=now)
    assert not kept.exists()


def test_a_deletion_that_dies_before_the_file_is_gone_leaves_nobody_a_key(store, ada, kept, now, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("portrait_anim.consent.retention.erase_file", lambda _: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            delete_cameo(store, ada[0].id, now=now)
    assert kept.exists()
    with store.read() as connection:
        (video,) = find_challenge_videos(connection, store, challenge_id="cha_0")
    assert (video.file_key, video.fingerprint) == (None, None)
    assert erase_due(store, now).videos == 1
    assert not kept.exists()


def test_videos_are_erased_after_their_time_and_recognised_still(store, ada, kept, now):
    assert erase_due(store, now + timedelta(days=30) - timedelta(seconds=1)) == RetentionReport()
    assert erase_due(store, now + timedelta(days=30)).videos == 1
    assert not kept.exists()
    with store.read() as connection:
        (video,) = find_challenge_videos(connection, store, challenge_id="cha_0")
    assert (video.file_key, video.stored_file, video.fingerprint) == (None, "", b"fingerprintzyx")
    (row,) = Ledger(store).rows(kind="erased")
    assert dict(row.payload) == {"by": "retention", "videos": ["cd" * 32]}
    assert erase_due(store, now + timedelta(days=31)) == RetentionReport()


def test_names_of_people_who_did_not_enrol_and_old_messages_go_after_a_month(store, ada, challenge, used, now):
    forgotten = replace(challenge("smile"), id="cha_1", name="Somebody Else")
    with store.write() as connection:
        put_challenge(connection, store, forgotten)
    deliver_due(store, now)
    report = erase_due(store, now + timedelta(days=31))
    assert (report.names, report.messages) == (1, 0)  # without a mail server the messages still wait
    with store.read() as connection:
        assert find_challenge(connection, store, "cha_1").name == ""
        assert find_challenge(connection, store, "cha_0").name == NAME
    for day in range(12):
        deliver_due(store, now + timedelta(days=day))
    assert erase_due(store, now + timedelta(days=90)).messages == 3


def test_maintenance_does_it_all_and_seals_the_ledger(store, ada, kept, used, now):
    done = maintain(store, now + timedelta(days=31))
    assert (done.retention.videos, done.deliveries.retried) == (1, 3)
    assert done.checkpoint == len(list(Ledger(store).rows()))
    assert verify(store) == done.checkpoint
    assert maintain(store, now + timedelta(days=31)).checkpoint == done.checkpoint


def test_an_export_that_fails_leaves_no_file(store, ada, tmp_path, now):
    with pytest.raises(ConsentError, match="folder"):
        export_cameo(store, ada[0].id, tmp_path / "missing" / "ada.zip", now=now)
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(ConsentError, match="file"):
        export_cameo(store, ada[0].id, tmp_path / "folder.zip", now=now)
    with pytest.raises(ConsentDenied):
        export_cameo(store, "../../etc", tmp_path / "x.zip", now=now)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.zip", "home"]
