"""The expression field built from the ICT head says what the head itself says."""

from pathlib import Path

import numpy as np
import pytest
import torch

from portrait_anim.models.lite.expression_field import FIELD_RIGHT, FIELD_TOP
from portrait_anim.models.lite.expressions import EXPRESSIONS
from portrait_anim.training import canonical_face

ICT = Path(__file__).parents[3].parent / "shared/data/ict"
pytestmark = pytest.mark.skipif(not ICT.exists(), reason="the ICT head of the shared data is not here")


@pytest.fixture(scope="module")
def head():
    return canonical_face.read_ict(ICT)


@pytest.fixture(scope="module")
def field(head):
    return canonical_face.build_field(head)


def change(**coefficients):
    out = torch.zeros(1, 55)
    for name, value in coefficients.items():
        out[0, EXPRESSIONS.index(name)] = value
    return out


@pytest.mark.parametrize("name", ["jawOpen", "mouthSmile_L", "eyeBlink_R", "browInnerUp_L", "mouthPucker"])
def test_skin_moves_as_the_mesh_does(head, field, name):
    # landmarks well inside the front of the face, away from lid and lip edges where two sheets lie one upon the other
    chosen = head.landmarks[[1, 4, 9, 50, 151, 152, 205, 280, 425, 199, 108, 337]]
    place = torch.from_numpy(head.vertices[chosen]).T[None, :, None]
    with torch.no_grad():
        moved = field(change(**{name: 1.0}), place)[0, :, 0].T.numpy()
    np.testing.assert_allclose(moved, head.shapes[EXPRESSIONS.index(name), chosen], atol=0.012)  # 1.2 mm


def test_lips_part_and_lids_close(head, field):
    upper, lower = (torch.from_numpy(head.vertices[head.landmarks[k]]) for k in (0, 17))
    place = torch.stack([upper, lower], 1)[None, :, None]
    with torch.no_grad():
        opened = field(change(jawOpen=1.0), place)[0, 1, 0]
    assert opened[0] - opened[1] > 0.1  # 1 cm


def test_gaze_moves_the_eyeball_and_little_else(field):
    rows, columns = np.nonzero(field.eyeball[0].numpy())
    side = field.patterns.shape[-1]
    x = (columns + 0.5) / side * 2 * FIELD_RIGHT - FIELD_RIGHT
    assert abs(x.mean()) < 0.01  # two openings, left and right of the middle
    assert 200 < len(rows) < 600
    eye = torch.tensor([x[x > 0].mean(), FIELD_TOP * (1 - 2 * rows.mean() / side), 0.9])
    nose = torch.tensor([0.0, 0.0, 1.2])
    look = torch.zeros(1, 55)
    look[0, 53] = 1.0
    with torch.no_grad():
        moved = field(look, torch.stack([eye, nose], 1).float()[None, :, None])[0, 0, 0]
    assert moved[0] > 0.02
    assert moved[1].abs() < 0.01
