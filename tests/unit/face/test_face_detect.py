"""portrait_anim.face.detect, .landmarks and .plausibility, with the real networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from portrait_anim.errors import FaceTooSmall, InputError, MultipleFaces, NoFaceFound, NotAHumanFace
from portrait_anim.face.crop import eye_distance, eye_midpoint
from portrait_anim.face.detect import FaceDetector, choose_face, face_size, find_face, overlap, tiles
from portrait_anim.types import FaceObservation, UInt8Array

Place = Callable[..., UInt8Array]


def boxed(left: float, top: float, side: float) -> FaceObservation:
    box = np.array([left, top, left + side, top + side])
    return FaceObservation(box=box, landmarks=np.zeros((478, 2)), score=1.0)


def test_a_face_is_found_with_its_landmarks(person: UInt8Array, person_face: FaceObservation) -> None:
    assert person_face.landmarks.shape == (478, 2)
    assert person_face.depth is not None
    assert person_face.depth.shape == (478,)
    assert eye_midpoint(person_face) == pytest.approx([200, 192], abs=8)
    assert person_face.landmarks[33, 0] < person_face.landmarks[263, 0]
    assert 0.5 <= person_face.score <= 1


def test_detection_is_deterministic(detector: FaceDetector, person: UInt8Array, person_face: FaceObservation) -> None:
    again = detector.detect(person)[0]
    assert np.array_equal(again.landmarks, person_face.landmarks)


@pytest.mark.parametrize(("side", "left", "top"), [(130, 1400, 700), (130, 20, 30), (200, 900, 400), (1000, 400, 40)])
def test_small_and_large_faces_in_a_full_hd_frame(
    detector: FaceDetector, make_person: Place, on_canvas: Place, side: int, left: int, top: int
) -> None:
    """A drawn face is about half its picture, so 130 px is a face of 64 px."""
    face = find_face(on_canvas(make_person(side), 1920, 1080, left, top), detector, minimum_px=60)
    assert eye_midpoint(face) == pytest.approx([left + 0.5 * side, top + 0.48 * side], abs=0.03 * side)
    assert eye_distance(face) == pytest.approx(0.29 * side, rel=0.2)


def test_several_faces_need_a_choice(detector: FaceDetector, make_person: Place, on_canvas: Place) -> None:
    frame = on_canvas(make_person(360), 1000, 400, 20, 20)
    frame[20:380, 600:960] = make_person(360, (200, 150, 120))
    with pytest.raises(MultipleFaces) as caught:
        find_face(frame, detector)
    assert caught.value.count == 2
    assert find_face(frame, detector, "left").box[0] < 400
    assert find_face(frame, detector, "1").box[0] > 600


def test_no_face(detector: FaceDetector, socket_picture: UInt8Array) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    flat = np.full((600, 400, 3), 128, np.uint8)
    for picture in (noise, flat, socket_picture, flat[:1, :1]):
        with pytest.raises(NoFaceFound, match="expected"):
            find_face(picture, detector)


def test_a_cat_is_not_a_human(detector: FaceDetector, cat: UInt8Array) -> None:
    assert detector.detect(cat), "the detectors alone are fooled"
    with pytest.raises(NotAHumanFace):
        find_face(cat, detector)


def test_a_cat_does_not_compete_with_a_person(detector: FaceDetector, person: UInt8Array, cat: UInt8Array) -> None:
    face = find_face(np.concatenate([cat, person], axis=1), detector)
    assert face.box[0] > 400


def test_too_small(detector: FaceDetector, make_person: Place, on_canvas: Place) -> None:
    with pytest.raises(FaceTooSmall) as caught:
        find_face(on_canvas(make_person(90), 640, 480, 200, 200), detector)
    assert caught.value.minimum_px == 64
    assert 25 < caught.value.size_px < 64


def test_a_tilted_face_is_judged_upright(detector: FaceDetector, person: UInt8Array) -> None:
    tilted = np.asarray(Image.fromarray(person).rotate(30, fillcolor=(90, 120, 160)))
    find_face(tilted, detector)


def test_choose_face() -> None:
    faces = [boxed(0, 0, 80), boxed(300, 0, 100), boxed(600, 0, 90)]
    assert choose_face(faces, "largest") is faces[1]
    assert choose_face(faces, "left") is faces[0]
    assert choose_face(faces, "right") is faces[2]
    assert choose_face(faces[::-1], "1") is faces[1]
    assert choose_face([boxed(0, 0, 30), faces[1]]) is faces[1]
    with pytest.raises(MultipleFaces):
        choose_face(faces)
    with pytest.raises(NoFaceFound, match="number 3"):
        choose_face(faces, "3")
    with pytest.raises(InputError, match="middle"):
        choose_face(faces, "middle")
    with pytest.raises(NoFaceFound):
        choose_face([])


@settings(deadline=None)
@given(width=st.integers(1, 9000), height=st.integers(1, 9000))
def test_tiles_cover_the_picture(width: int, height: int) -> None:
    made = list(tiles(width, height))
    assert len(made) <= 40
    for axis, length in ((0, width), (1, height)):
        reach = 0
        for start in sorted({tile[axis] for tile in made}):
            assert start <= reach
            reach = start + made[0][2]
        assert reach >= length


def test_overlap_and_size() -> None:
    box = np.array([0.0, 0, 10, 20])
    assert overlap(box, box) == 1
    assert overlap(box, box + 100) == 0
    assert overlap(box, np.array([0.0, 10, 10, 30])) == pytest.approx(1 / 3)
    assert face_size(boxed(3, 4, 50)) == 50


@pytest.mark.slow
def test_synthetic_portraits_are_human(detector: FaceDetector, shared_data: Path) -> None:
    paths = sorted((shared_data / "portraits" / "omi").glob("*.jpg"))[::9]
    for path in paths:
        find_face(np.asarray(Image.open(path).convert("RGB")), detector)
