"""What the page says about a portrait and a clip."""

from pathlib import Path

import numpy as np
import pytest

from portrait_anim.media.image import read_image, write_image
from portrait_anim.weights import samples_dir

looking = pytest.importorskip("portrait_anim_demo.looking", reason="the demo is not installed")


@pytest.fixture
def portrait() -> Path:
    return samples_dir() / "portrait.jpg"


@pytest.fixture
def two_faces(tmp_path: Path, portrait: Path) -> Path:
    pair = np.concatenate([read_image(portrait), read_image(samples_dir() / "portrait_b.jpg")], axis=1)
    write_image(tmp_path / "two.png", pair)
    return tmp_path / "two.png"


def test_the_face_of_the_sample_portrait_is_drawn(portrait: Path) -> None:
    look = looking.look_at_portrait(portrait, None)
    assert look.usable
    assert look.faces == 1
    assert "512 by 512" in look.message
    assert (look.picture == looking.CHOSEN_COLOUR).all(axis=-1).sum() > 200


def test_several_faces_are_numbered_and_one_can_be_chosen(two_faces: Path) -> None:
    open_choice = looking.look_at_portrait(two_faces, None)
    assert not open_choice.usable
    assert open_choice.faces == 2
    assert "choose" in open_choice.message
    right = looking.look_at_portrait(two_faces, "1")
    assert right.usable
    columns = np.nonzero((right.picture == looking.CHOSEN_COLOUR).all(axis=-1).any(axis=0))[0]
    assert columns.min() > right.picture.shape[1] / 2


def test_a_large_picture_is_shown_smaller(tmp_path: Path) -> None:
    write_image(tmp_path / "wide.png", np.full((300, 3000, 3), 128, np.uint8))
    look = looking.look_at_portrait(tmp_path / "wide.png", None)
    assert not look.usable
    assert max(look.picture.shape) == looking.SHOWN_SIDE_PX
    assert "face" in look.message


@pytest.mark.parametrize("content", [b"", b"not a picture at all", b"\xff\xd8\xff\xe0 cut off"])
@pytest.mark.parametrize("look", ["look_at_portrait", "look_at_clip"])
def test_a_file_that_is_none_is_named_without_its_folder(tmp_path: Path, content: bytes, look: str) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    found = getattr(looking, look)(path, None)
    assert found.picture is None
    assert not found.usable
    assert "holiday.jpg" in found.message
    assert str(tmp_path) not in found.message


def test_the_sample_clip_is_described() -> None:
    look = looking.look_at_clip(samples_dir() / "driving.mp4", None)
    assert look.usable
    assert "25 frames per second" in look.message
    assert "with sound" in look.message


def test_a_picture_serves_as_a_clip_of_one_frame(portrait: Path) -> None:
    assert looking.look_at_clip(portrait, None).usable
