"""The inside of the mouth: teeth are found one by one and coloured by where a pixel lies on them."""

import torch

from portrait_anim.training.synthetic.mesh import TEETH, load_mesh
from portrait_anim.training.synthetic.mouth import LOOK, map_teeth, person_look, shade_mouth
from portrait_anim.training.synthetic.pack import Pack
from portrait_anim.training.synthetic.people import load_cast

UNKNOWN = torch.full((1, 3), torch.nan)


def _tooth(height: list[float], across: list[float], depth: float = 0.5) -> torch.Tensor:
    """Pixels of one tooth, `(n, 11)`."""
    out = torch.zeros(len(height), 11)
    out[:, 0] = 1
    out[:, 1], out[:, 2] = torch.tensor(across), torch.tensor(height)
    out[:, 3], out[:, 7], out[:, 8], out[:, 10] = 1, depth, 1, 1
    return out


def _shaded(values: torch.Tensor, look: torch.Tensor | None = None, enamel: torch.Tensor = UNKNOWN) -> torch.Tensor:
    """Colours `(n, 3)` under even light."""
    n = len(values)
    look = torch.zeros(LOOK) if look is None else look
    return shade_mouth(values, look.expand(n, -1), torch.ones(n), enamel.expand(n, -1))


def test_two_separate_pieces_are_two_teeth() -> None:
    square = torch.tensor([[0.0, 0, 10], [1, 0, 10], [0, 1, 10], [1, 1, 10]])
    vertices = torch.cat([square, square + torch.tensor([1.5, 0, 0])])
    tris = torch.tensor([[0, 1, 2], [1, 3, 2], [4, 5, 6], [5, 7, 6]])
    teeth = map_teeth(vertices, tris, torch.ones(8))
    torch.testing.assert_close(teeth.across, torch.tensor([-1.0, 1, -1, 1, -1, 1, -1, 1]), atol=1e-3, rtol=0)
    torch.testing.assert_close(teeth.height, torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1]))


def test_enamel_is_light_gum_is_red_and_gaps_are_dark() -> None:
    enamel, gum, gap = _shaded(_tooth([0.6, 2.0, 0.6], [0.0, 0.0, 1.0]))
    assert enamel.min() > 0.6
    assert gum[0] > 1.4 * gum[1]
    assert gap.mean() < 0.8 * enamel.mean()


def test_depth_darkens() -> None:
    near, far = (_shaded(_tooth([0.6], [0.0], d)).mean() for d in (0.5, 5.0))
    assert far < 0.4 * near


def test_drawn_teeth_have_the_photographed_colour() -> None:
    known = torch.tensor([[0.70, 0.60, 0.45]])
    drawn = _shaded(_tooth([0.6], [-0.5]), enamel=known)
    assert (drawn / known - 1).abs().max() < 0.15
    assert (drawn - _shaded(_tooth([0.6], [-0.5]))).abs().max() > 0.1


def test_teeth_differ_between_people() -> None:
    pixels = _tooth([0.1, 0.6, 1.1, 0.6], [0.0, 0.3, 0.0, 0.93])
    looks = torch.randn(40, LOOK, generator=torch.Generator().manual_seed(0))
    drawn = torch.stack([_shaded(pixels, look) for look in looks])
    assert (drawn.std(0).mean(1) > 0.015).all()
    gap = torch.zeros(LOOK)
    gap[8] = 2.2  # a gap in the middle
    assert _shaded(pixels, gap)[3].mean() < 0.7 * _shaded(pixels)[3].mean()
    assert torch.allclose(_shaded(pixels, gap)[1], _shaded(pixels)[1])


def test_light_on_teeth_counts() -> None:
    lit, unlit = _tooth([0.6], [0.7], 2.0), _tooth([0.6], [0.7], 2.0)
    unlit[:, 10] = 0.6
    assert torch.allclose(_shaded(unlit), 0.6 * _shaded(lit), atol=1e-3)


def test_photographed_smiles_keep_their_teeth(pack: Pack) -> None:
    people = load_cast(pack, numbers=(34, 273, 42)).people  # two broad smiles and a closed mouth
    used = people.teeth.gt(0.9).sum(1)
    assert used[:2].min() > 80
    assert used[2] == 0
    assert people.enamel[2].isnan().all()
    smiles = people.enamel[:2]
    assert (smiles.mean(1) > 1.1 * people.skin[:2].mean(1)).all()
    assert (smiles.std(1) < 0.12).all()


def test_looks_differ_between_people_and_repeat() -> None:
    numbers = torch.arange(1, 905)
    look = person_look(numbers)
    assert look.isfinite().all()
    assert torch.equal(look[7:8], person_look(numbers[7:8]))
    assert (look.std(0) > 0.7).all()
    assert look.mean(0).abs().max() < 0.1


def test_the_pack_has_thirty_two_teeth(pack: Pack) -> None:
    mesh = load_mesh(pack, torch.device("cpu"))
    teeth = mesh.inner.teeth
    used = torch.unique(mesh.tris[mesh.part == TEETH])
    ends = (teeth.across[used].abs() > 0.999).sum()
    assert ends >= 2 * 28  # two extreme vertices on every tooth
    assert teeth.height[used].max() < 3.5
