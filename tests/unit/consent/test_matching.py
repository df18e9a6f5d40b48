import numpy as np
import pytest

from portrait_anim.consent.matching import MatchPolicy, distance, matches, mean_embedding
from portrait_anim.types import IdentityEmbedding


def arcface(*values):
    return IdentityEmbedding(vector=np.array(values, np.float32), backend="arcface")


def dlib(*values):
    return IdentityEmbedding(vector=np.array(values, np.float32), backend="dlib")


def test_distances_of_both_backends():
    assert distance(dlib(0, 3), dlib(4, 0)) == pytest.approx(5)
    assert distance(arcface(2, 0), arcface(0, 7)) == pytest.approx(1)
    assert distance(arcface(2, 0), arcface(9, 0)) == pytest.approx(0)


def test_only_one_backend_is_compared():
    with pytest.raises(ValueError, match="one backend"):
        distance(dlib(1, 0), arcface(1, 0))
    with pytest.raises(ValueError, match="one backend"):
        distance(dlib(1, 0), dlib(1, 0, 0))
    assert matches(dlib(1, 0), [arcface(1, 0)], MatchPolicy()) is None
    assert matches(dlib(1, 0), [], MatchPolicy()) is None


@pytest.mark.parametrize("bad", [np.full(4, np.nan), np.zeros(4), np.array([]), np.ones((2, 2)), np.array([np.inf])])
def test_an_embedding_that_says_nothing_is_refused(bad):
    face = IdentityEmbedding(vector=bad.astype(np.float32), backend="dlib")
    with pytest.raises(ValueError, match="finite embedding"):
        distance(face, face)


def test_the_limits_are_configurable_and_inclusive():
    assert matches(dlib(0.44, 1), [dlib(0, 1)], MatchPolicy())
    assert not matches(dlib(0.46, 1), [dlib(0, 1)], MatchPolicy())
    assert matches(dlib(0.51, 1), [dlib(9, 1), dlib(0, 1)], MatchPolicy(dlib=0.52))
    with pytest.raises(ValueError, match="positive dlib"):
        MatchPolicy(dlib=float("nan"))
    with pytest.raises(ValueError, match="backend"):
        MatchPolicy().limit("other")


def test_the_mean():
    assert mean_embedding([dlib(0, 2), dlib(2, 0)]).vector == pytest.approx([1, 1])
    assert np.linalg.norm(mean_embedding([arcface(0, 1), arcface(1, 0)]).vector) == pytest.approx(1)
    with pytest.raises(ValueError, match="at least one"):
        mean_embedding([])
    with pytest.raises(ValueError, match="one backend"):
        mean_embedding([dlib(1, 0), arcface(1, 0)])
