"""Short-range face boxes: near the known face, and a stand-in where the detector sees nothing."""

from dataclasses import replace

import numpy as np
import pytest

from portrait_anim.face.detect import FaceDetector, find_face, overlap
from portrait_anim.face.short_range import ShortRangeDetector
from portrait_anim.media.image import read_image
from portrait_anim.weights import samples_dir


@pytest.fixture(scope="module")
def portrait():
    return read_image(samples_dir() / "portrait.jpg")


@pytest.fixture(scope="module")
def face(portrait):
    with FaceDetector() as detector:
        return find_face(portrait, detector, None)


def test_the_box_is_that_of_the_face_in_whole_pixels(portrait, face):
    with ShortRangeDetector() as detector:
        box = detector.box_of(portrait, face)
    assert np.array_equal(box, np.rint(box))
    assert overlap(box, face.box) > 0.5
    side = max(box[2] - box[0], box[3] - box[1]) / max(face.box[2] - face.box[0], face.box[3] - face.box[1])
    assert 0.8 < side < 1.05


def test_an_unseen_face_gets_a_box_of_the_usual_size(portrait, face):
    blank = np.zeros_like(portrait)
    with ShortRangeDetector() as detector:
        box, seen = detector.box_of(blank, face), detector.box_of(portrait, face)
        corner = detector.box_of(blank, replace(face, box=np.array([-40.0, -40.0, 60.0, 60.0])))
    assert overlap(box, seen) > 0.75
    assert corner.min() >= 0
