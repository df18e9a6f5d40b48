"""A real render runs while its owner ends it through the service, or the operator protects the face."""

import threading
from datetime import datetime, timedelta, timezone

import pytest

pytest.importorskip("fastapi", reason="the service needs the extra [service]")

from dataclasses import replace

from fastapi.testclient import TestClient

from portrait_anim import studio
from portrait_anim.consent.accounts import create_account
from portrait_anim.consent.denylist import add_denied
from portrait_anim.consent.grants import grant
from portrait_anim.consent.inbox import list_uses
from portrait_anim.consent.ledger import Ledger, verify
from portrait_anim.consent.rows import put_cameo
from portrait_anim.consent.store import open_store
from portrait_anim.enrolment import enroll_fictional_from_file
from portrait_anim.errors import ConsentDenied
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.service import create_app
from portrait_anim.weights import samples_dir

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("act", ["revoke", "withdraw", "delete", "deny"])
def test_a_running_render_is_ended_from_elsewhere(act, tmp_path):
    home, now = tmp_path / "home", datetime.now(timezone.utc)
    with open_store(home) as store:
        cameo = enroll_fictional_from_file(
            store, portrait=samples_dir() / "portrait.jpg", name="Actor", statement="Does not exist.", now=now
        )
        owner, token = create_account(store, name="Ada", role="owner", now=now)
        with store.write() as connection:
            put_cameo(connection, store, replace(cameo, owner_account=owner.id), new=False)
        given = grant(
            store, cameo.id, grantee="operator", purpose="test", allowed_contexts=["animate"],
            expires=now + timedelta(hours=1), max_renders=5, max_seconds=60, now=now,
        )  # fmt: skip
        phone = TestClient(create_app(store), headers={"Authorization": f"Bearer {token}"})
        started, ended, frames = threading.Event(), threading.Event(), []

        def end() -> None:
            assert started.wait(300)
            if act == "revoke":
                answer = phone.post(f"/grants/{given.id}/revoke")
            elif act == "withdraw":
                (use,) = phone.get(f"/cameos/{cameo.id}/uses").json()
                assert use["kind"] == "draft"
                answer = phone.post(f"/permits/{use['permit_id']}/withdraw", json={})
            elif act == "delete":
                answer = phone.delete(f"/cameos/{cameo.id}")
            else:
                add_denied(store, cameo.embeddings, label="request 7", now=now)  # by the operator, on a request
                answer = phone.get("/me")
            assert answer.status_code == 200
            ended.set()

        def watch(progress) -> None:
            if progress.stage == "animate":
                frames.append(progress.done)
                started.set()
                if progress.done == 4:  # the end of a window: what was started before may finish, nothing after it
                    assert ended.wait(300)

        owner_elsewhere = threading.Thread(target=end)
        owner_elsewhere.start()
        with pytest.raises(ConsentDenied) as caught:
            studio.animate(
                samples_dir() / "portrait.jpg", samples_dir() / "driving.mp4", cameo=cameo.id, home=home,
                output=tmp_path / "film.mp4", purpose="test", end_s=0.8,
                options=AnimationOptions(size_px=256, num_steps=1), on_progress=watch,
            )  # fmt: skip
        owner_elsewhere.join()
        reason = {"revoke": "revoked", "withdraw": "withdrawn", "delete": "deleted", "deny": "denylisted"}[act]
        assert caught.value.reason == reason
        assert max(frames) == 4
        assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]
        kinds = [use.kind for use in list_uses(store)]
        assert kinds == {"withdraw": ["withdrawn"], "delete": []}.get(act, ["aborted"])
        (row,) = Ledger(store).rows(kind="aborted")
        assert row.payload["reason"] == reason
        assert verify(store) > 3
