import io
from datetime import timedelta

import numpy as np
import pytest
from PIL import Image

from portrait_anim.consent.grants import revoke
from portrait_anim.consent.inbox import THUMBNAIL_SIDE_PX, add_thumbnail, get_use, list_uses, mark_read
from portrait_anim.consent.permit import authorise, refuse
from portrait_anim.consent.renders import record_abort, record_render
from portrait_anim.errors import ConsentDenied, LedgerTampered


def picture(kind="PNG", size=(640, 360)):
    made = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8)).save(made, kind)
    return made.getvalue()


def kinds(store):
    return [(use.kind, use.reason) for use in list_uses(store)]


@pytest.fixture
def permit(store, fictional, give, ask, now):
    give(fictional)
    return authorise(store, ask(fictional), now=now)


def test_a_permit_is_in_the_inbox_before_anything_is_rendered(store, fictional, permit, now):
    (use,) = list_uses(store, fictional)
    assert (use.kind, use.permit_id, use.grantee, use.purpose, use.context, use.time, use.read_at) == (
        "draft", permit.id, "operator", "film", "animate", now, None,
    )  # fmt: skip
    assert list_uses(store, "cam_other") == []


def test_an_entry_goes_with_its_render_and_is_unread_again(store, permit, now):
    (use,) = list_uses(store)
    assert mark_read(store, use.id, now).read_at == now
    assert mark_read(store, use.id, now + timedelta(1)).read_at == now
    assert list_uses(store, unread=True) == []
    record_render(store, permit, output_digest="ab" * 32, duration_s=2.0, num_frames=50, now=now)
    (after,) = list_uses(store, unread=True)
    assert (after.id, after.kind, after.read_at) == (use.id, "rendered", None)


def test_an_aborted_and_a_revoked_render_say_so(store, fictional, permit, ask, now):
    record_abort(store, permit, reason="Cancelled", now=now)
    assert kinds(store) == [("aborted", "Cancelled")]
    second = authorise(store, ask(fictional), now=now + timedelta(seconds=1))
    revoke(store, second.grant_id, now + timedelta(seconds=2))
    with pytest.raises(ConsentDenied):
        record_render(
            store, second, output_digest="ab" * 32, duration_s=2.0, num_frames=50, now=now + timedelta(seconds=3)
        )
    assert kinds(store) == [("aborted", "revoked"), ("aborted", "Cancelled")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"grantee": "mallory"}, "wrong_grantee"),
        ({"purpose": "advert"}, "wrong_purpose"),
        ({"portrait_digest": "0" * 64, "portrait_embedding": None}, "portrait_mismatch"),
    ],
)
def test_every_refused_attempt_is_there(change, reason, store, fictional, give, ask, now):
    give(fictional)
    asked = ask(fictional, **change)
    with pytest.raises(ConsentDenied):
        authorise(store, asked, now=now)
    (use,) = list_uses(store)
    assert (use.kind, use.reason, use.grantee, use.permit_id) == ("refused", reason, asked.grantee, "")


def test_a_portrait_without_a_face_is_there(store, fictional, ask, now):
    row = refuse(store, ask(fictional, portrait_embedding=None), reason="no_face", now=now)
    assert (row.kind, row.payload["reason"], row.charge_renders) == ("refused", "no_face", 0)
    assert kinds(store) == [("refused", "no_face")]
    with pytest.raises(ValueError, match="one word"):
        refuse(store, ask(fictional), reason="Ada's photo", now=now)


def test_nobodys_inbox_gets_attempts_on_what_does_not_exist(store, ask, now):
    with pytest.raises(ConsentDenied):
        authorise(store, ask("cam_x'; DROP TABLE uses; --"), now=now)
    assert list_uses(store) == []


def test_a_tampered_cameo_is_refused_though_nobody_can_be_told(store, fictional, give, ask, now, tamper):
    give(fictional)
    tamper(store, "UPDATE cameos SET owner_account = 'acc_mallory'")
    with pytest.raises(ConsentDenied) as caught:
        authorise(store, ask(fictional), now=now)
    assert caught.value.reason == "tampered"
    assert list_uses(store) == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_thumbnail_is_small_and_encrypted(kind, store, permit, database):
    add_thumbnail(store, permit.id, picture(kind))
    (use,) = list_uses(store)
    with Image.open(io.BytesIO(use.thumbnail)) as small:
        assert (small.format, max(small.size), small.size[0] * 9) == ("PNG", THUMBNAIL_SIDE_PX, small.size[1] * 16)
    ((sealed, grantee),) = database.query("SELECT thumbnail, grantee FROM uses")
    assert use.thumbnail[16:80] not in bytes(sealed)
    assert b"operator" not in bytes(grantee)
    assert use.grantee == "operator"
    assert "operator" not in repr(use)


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", picture()[:200], b"PK\x03\x04zip", b"\x80\x04pickle"]
)
def test_what_is_no_picture_is_no_thumbnail(content, store, permit):
    with pytest.raises(ValueError, match="picture"):
        add_thumbnail(store, permit.id, content)
    assert list_uses(store)[0].thumbnail is None
    assert add_thumbnail(store, "per_unknown", picture()) is None


def test_an_altered_entry_is_refused(store, permit, tamper):
    tamper(store, "UPDATE uses SET purpose = 'charity'")
    with pytest.raises(LedgerTampered):
        list_uses(store)


def test_an_unknown_entry_is_refused(store, now):
    for call in (lambda: get_use(store, "use_x"), lambda: mark_read(store, "use_x", now)):
        with pytest.raises(ConsentDenied) as caught:
            call()
        assert caught.value.reason == "no_use"
