"""Pictures of the average mouth: rows of teeth that are where teeth are, and move as jaws do."""

from pathlib import Path

import pytest
import torch

from portrait_anim.models.lite.expressions import EXPRESSIONS
from portrait_anim.models.lite.mouth_interior import BOTTOM, JAW, TOP
from portrait_anim.training.canonical_mouth import build_mouth
from portrait_anim.training.synthetic.mesh import load_mesh
from portrait_anim.training.synthetic.pack import read_pack

PACK = Path(__file__).parents[4] / "shared" / "data" / "pack" / "omi_pack.npz"


@pytest.fixture(scope="module")
def mouth():
    if not PACK.exists():
        pytest.skip("shared training pack is not here")
    return build_mouth(load_mesh(read_pack(PACK), torch.device("cpu")))


def heights(mouth, layer):
    """Canonical heights [10 cm] at which a layer is bright, as teeth are."""
    bright = (mouth.pictures[layer, :3].mean(0) > 0.3).nonzero()[:, 0]
    assert len(bright) > 100
    return TOP - (bright + 0.5) / mouth.pictures.shape[2] * (TOP - BOTTOM)


def test_teeth_bite_at_the_line_of_the_lips(mouth):
    lower, upper = heights(mouth, 1), heights(mouth, 2)
    assert -0.5 < lower.mean() < upper.mean() < -0.2
    assert mouth.pictures[0, 3].min() == 1  # behind teeth is always flesh
    assert mouth.pictures[0, :3].mean() < -0.6  # in the dark


def test_upper_teeth_stay_and_lower_teeth_follow_the_jaw(mouth):
    opening = mouth.jaw[:, JAW.index(EXPRESSIONS.index("jawOpen"))]
    assert opening[2].abs().max() == 0
    assert opening[1, 1] < -0.2  # 2 cm
    assert opening[1, 1] < opening[0, 1] < 0  # the tongue follows a part of the way
    left, right = (mouth.jaw[1, JAW.index(EXPRESSIONS.index(n)), 0] for n in ("jawLeft", "jawRight"))
    assert left > 0.03
    assert right < -0.03
