"""The expression field: sampling, landmarks to canonical positions, bounds."""

import pytest
import torch

from portrait_anim.models.lite.expression_field import FIELD_LEFT, FIELD_RIGHT, FIELD_TOP, ExpressionField

SIZE = 32


@pytest.fixture
def field():
    """A field of one pattern that grows to the subject's left; coefficient 0 raises, coefficient 1 pushes forward."""
    out = ExpressionField(basis_size=2, rank=1, size=SIZE, num_triangles=2)
    with torch.no_grad():
        out.patterns.copy_(torch.linspace(-1, 1, SIZE).expand(1, SIZE, SIZE))
        out.mix[0, 0, 1] = 0.1
        out.mix[1, 0, 2] = 0.2
    out.landmarks[:4] = torch.tensor([[-0.5, 0.5, 0.1], [0.5, 0.5, 0.2], [0.5, -0.5, 0.3], [-0.5, -0.5, 0.4]])
    out.triangles.copy_(torch.tensor([[0, 1, 2], [0, 2, 3]]))
    return out


def positions_of(field):
    """Landmarks where the canonical face itself would show them."""
    return field.landmarks[:, :2] * torch.tensor([1.0, -1.0])


def test_displacement_is_linear_in_the_coefficients(field):
    place = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5
    change = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]])
    raised, pushed, both = field(change, place[:1].expand(3, -1, -1, -1))
    torch.testing.assert_close(both, 2 * raised - pushed)
    assert raised[1].abs().max() > 0
    assert raised[2].abs().max() == 0


def test_cell_centres_return_the_patterns_values(field):
    step = (FIELD_RIGHT - FIELD_LEFT) / SIZE
    place = torch.zeros(1, 3, 1, 2)
    place[0, 0, 0] = torch.tensor([FIELD_LEFT + step / 2, FIELD_RIGHT - step / 2])
    place[0, 1] = FIELD_TOP - 0.3
    raised = field(torch.tensor([[1.0, 0.0]]), place)[0, 1, 0]
    torch.testing.assert_close(raised, torch.tensor([-0.1, 0.1]))


def test_landmarks_of_the_canonical_face_give_its_own_coordinates(field):
    canonical, known, opened = field.locate(positions_of(field), 64)
    assert not opened.any()
    axis = (torch.arange(64) + 0.5) / 32 - 1
    inside = known[0, 0] > 0
    assert 0.24 < inside.float().mean() < 0.27  # half the width by half the height
    torch.testing.assert_close(canonical[0, 0][inside], axis.expand(64, 64)[inside], atol=1e-6, rtol=0)
    torch.testing.assert_close(canonical[0, 1][inside], -axis[:, None].expand(64, 64)[inside], atol=1e-6, rtol=0)
    assert 0.1 <= canonical[0, 2][inside].min() < canonical[0, 2][inside].max() <= 0.4


def test_landmarks_outside_the_crop_and_flat_triangles_are_harmless(field):
    far, known, _ = field.locate(positions_of(field) + 5, 16)
    assert not known.any()
    assert torch.isfinite(far).all()
    flat = positions_of(field) * torch.tensor([1.0, 0.0])
    assert not field.locate(flat, 16)[1].any()


def test_eyeballs_lie_only_in_the_openings(field):
    field.eyeball[0, 8:12, 8:12] = 1
    x = FIELD_LEFT + 10 / SIZE * (FIELD_RIGHT - FIELD_LEFT)
    y = FIELD_TOP - 10 / SIZE * 2 * FIELD_TOP
    inside = torch.tensor([x, y, 0.0]).reshape(1, 3, 1, 1)
    assert field.under_lids(inside).item() == pytest.approx(1.0)
    assert field.under_lids(inside + 0.5).item() == 0.0
    assert field.under_lids(inside + 50).item() == 0.0
