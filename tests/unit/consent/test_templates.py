"""Faces keep where they were measured; rows from before that was kept are read by the order they had."""

import json

import numpy as np
import pytest

from portrait_anim.consent.templates import embeddings_bytes, embeddings_of, faces_bytes, faces_of


def same(found, expected):
    return len(found) == len(expected) and all(
        a.backend == b.backend and np.array_equal(a.vector, b.vector) for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize(("portraits", "videos"), [(1, 1), (2, 1), (1, 0), (0, 1), (0, 0)])
def test_faces_come_back_with_their_origin(portraits, videos, real, someone):
    portrait, video = [someone(n) for n in range(portraits)], [someone(9 + n) for n in range(videos)]
    packed = faces_bytes(portrait, video)
    assert (packed is None) == (not portrait and not video)
    found = faces_of(packed, real=real)
    assert same(found[0], portrait)
    assert same(found[1], video)
    assert same(embeddings_of(packed), portrait + video)


def test_keys_in_another_order_change_nothing(someone):
    kept = json.loads(faces_bytes([someone(1)], [someone(2)]))
    portrait, video = faces_of(json.dumps(dict(reversed(kept.items()))).encode(), real=True)
    assert same(portrait, [someone(1)])
    assert same(video, [someone(2)])


@pytest.mark.parametrize(("real", "split"), [(True, 1), (False, 2)])
def test_rows_from_before_are_read(real, split, someone):
    known = [someone(1), someone(2)]
    portrait, video = faces_of(embeddings_bytes(known), real=real)
    assert same(portrait, known[:split])
    assert same(video, known[split:])
