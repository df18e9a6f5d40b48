"""portrait_anim.face.identity."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from portrait_anim.errors import InputError, ModelError, WeightsMissing
from portrait_anim.face.crop import crop, square_transform
from portrait_anim.face.detect import FaceDetector
from portrait_anim.face.dlib_models import model_path
from portrait_anim.face.identity import (
    IdentityEncoder,
    distance,
    five_points,
    load_identity_encoder,
    mean_embedding,
    threshold,
)
from portrait_anim.types import FaceObservation, IdentityEmbedding, UInt8Array


@pytest.fixture(scope="module")
def encoder() -> IdentityEncoder:
    return load_identity_encoder("dlib")


def embedding(*values: float, backend: str = "dlib") -> IdentityEmbedding:
    return IdentityEmbedding(vector=np.array(values, np.float32), backend=backend)  # type: ignore[arg-type]


def test_embedding_is_deterministic(encoder: IdentityEncoder, person: UInt8Array, person_face: FaceObservation) -> None:
    first, second = (encoder.embed(person, person_face) for _ in range(2))
    other = load_identity_encoder("dlib").embed(person, person_face)
    assert first.vector.shape == (128,)
    assert first.vector.dtype == np.float32
    assert np.array_equal(first.vector, second.vector)
    assert np.array_equal(first.vector, other.vector)


def test_one_face_in_other_light_and_size(
    encoder: IdentityEncoder, detector: FaceDetector, person: UInt8Array, person_face: FaceObservation
) -> None:
    base = encoder.embed(person, person_face)
    changed = crop((person * 0.8).astype(np.uint8), square_transform(np.array([210.0, 190.0]), 460, 300))
    again = encoder.embed(changed, detector.detect(changed)[0])
    assert 0 < distance(base, again) < threshold("dlib")


def test_another_face_is_farther(
    encoder: IdentityEncoder,
    detector: FaceDetector,
    make_person: Callable[..., UInt8Array],
    person: UInt8Array,
    person_face: FaceObservation,
) -> None:
    base = encoder.embed(person, person_face)
    shifted = np.roll(person, (5, -9), axis=(0, 1))
    other = make_person(400, (110, 75, 55))
    near = distance(base, encoder.embed(shifted, detector.detect(shifted)[0]))
    assert near < distance(base, encoder.embed(other, detector.detect(other)[0]))


def test_distances() -> None:
    assert distance(embedding(0, 3), embedding(4, 0)) == pytest.approx(5)
    assert distance(embedding(1, 0, backend="arcface"), embedding(0, 1, backend="arcface")) == pytest.approx(1)
    assert distance(embedding(1, 0, backend="arcface"), embedding(1, 0, backend="arcface")) == 0
    with pytest.raises(InputError, match="one backend"):
        distance(embedding(1, 0), embedding(1, 0, backend="arcface"))


def test_mean_embedding() -> None:
    assert mean_embedding([embedding(0, 2), embedding(2, 0)]).vector == pytest.approx([1, 1])
    unit = mean_embedding([embedding(1, 0, backend="arcface"), embedding(0, 1, backend="arcface")])
    assert np.linalg.norm(unit.vector) == pytest.approx(1)
    for bad in ([], [embedding(1, 0), embedding(1, 0, backend="arcface")]):
        with pytest.raises(ValueError, match="one backend"):
            mean_embedding(bad)


def test_thresholds_exist_for_both_backends() -> None:
    assert 0.3 < threshold("dlib") <= 0.6
    assert 0.3 < threshold("arcface") < 1
    with pytest.raises(ValueError, match="backend"):
        threshold("other")  # type: ignore[arg-type]


def test_arcface_without_its_weights_says_what_to_do(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(ModelError, match="arcface"):
            load_identity_encoder("arcface", model_dir=folder)
    assert load_identity_encoder("auto", model_dir=tmp_path).backend == "dlib"
    with pytest.raises(ValueError, match="backend"):
        load_identity_encoder("facenet")  # type: ignore[arg-type]


def test_missing_dlib_network_says_what_to_do() -> None:
    with pytest.raises(WeightsMissing, match="pip install") as caught:
        model_path("absent.dat")
    assert caught.value.files == ("absent.dat",)


def test_five_points_go_from_left_to_right(person_face: FaceObservation) -> None:
    points = five_points(person_face)
    assert points.shape == (5, 2)
    assert points[0, 0] < points[2, 0] < points[1, 0]
    assert points[3, 0] < points[4, 0]
    assert points[0, 1] < points[2, 1] < points[3, 1]
