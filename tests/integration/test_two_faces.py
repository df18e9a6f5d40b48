"""A picture with two faces is enrolled for one of them; the other one must not be animated with it."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from portrait_anim import studio
from portrait_anim.consent.grants import grant
from portrait_anim.consent.ledger import Ledger
from portrait_anim.consent.store import open_store
from portrait_anim.enrolment import enroll_fictional_from_file
from portrait_anim.errors import ConsentDenied
from portrait_anim.media.image import read_image, write_image
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.weights import samples_dir


@pytest.fixture
def couple(tmp_path: Path) -> Path:
    """Both sample actors in one picture, A to the left."""
    sides = [cv2.resize(read_image(samples_dir() / name), (512, 512)) for name in ("portrait.jpg", "portrait_b.jpg")]
    path = tmp_path / "couple.png"
    write_image(path, np.concatenate(sides, axis=1))
    return path


@pytest.mark.parametrize("face", ["right", "1"])
def test_the_other_face_of_an_enrolled_picture_is_refused(couple: Path, face: str, tmp_path: Path) -> None:
    home, now = tmp_path / "home", datetime.now(timezone.utc)
    with open_store(home) as store:
        cameo = enroll_fictional_from_file(
            store, portrait=couple, face="left", name="A", statement="Does not exist.", now=now
        )
        grant(
            store, cameo.id, grantee="operator", purpose="test", allowed_contexts=["animate"], max_renders=5,
            max_seconds=60.0, expires=now + timedelta(hours=1), now=now,
        )  # fmt: skip
    with pytest.raises(ConsentDenied) as refusal:
        studio.animate(
            couple, samples_dir() / "driving.mp4", cameo=cameo.id, home=home, output=tmp_path / "film.mp4",
            purpose="test", end_s=0.2, options=AnimationOptions(face=face),
        )  # fmt: skip
    assert refusal.value.reason == "portrait_mismatch"
    assert not (tmp_path / "film.mp4").exists()
    with open_store(home) as store:
        assert [row.kind for row in Ledger(store).rows()][-1] == "refused"
