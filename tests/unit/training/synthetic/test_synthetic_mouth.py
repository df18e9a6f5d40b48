"""The inside of the mouth: teeth are found one by one and coloured by where a pixel lies on them."""

import torch

from portrait_anim.training.synthetic.mesh import TEETH, load_mesh
from portrait_anim.training.synthetic.mouth import LOOK, map_teeth, person_look, shade_mouth
from portrait_anim.training.synthetic.pack import Pack


def _tooth(height: list[float], across: list[float], depth: float = 0.5) -> torch.Tensor:
    """Pixel values of one tooth, `(1, 1, n, 9)`."""
    out = torch.zeros(1, 1, len(height), 9)
    out[..., 0] = 1
    out[..., 1], out[..., 2] = torch.tensor(across), torch.tensor(height)
    out[..., 3], out[..., 6], out[..., 7] = 1, depth, 1
    return out


def test_two_separate_pieces_are_two_teeth() -> None:
    square = torch.tensor([[0.0, 0, 10], [1, 0, 10], [0, 1, 10], [1, 1, 10]])
    vertices = torch.cat([square, square + torch.tensor([1.5, 0, 0])])
    tris = torch.tensor([[0, 1, 2], [1, 3, 2], [4, 5, 6], [5, 7, 6]])
    teeth = map_teeth(vertices, tris, torch.ones(8))
    torch.testing.assert_close(teeth.across, torch.tensor([-1.0, 1, -1, 1, -1, 1, -1, 1]), atol=1e-3, rtol=0)
    torch.testing.assert_close(teeth.height, torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1]))


def test_enamel_is_light_gum_is_red_and_gaps_are_dark() -> None:
    pixels = shade_mouth(_tooth([0.6, 2.0, 0.6], [0.0, 0.0, 1.0]), torch.zeros(1, LOOK), torch.ones(1))[0, :, 0]
    enamel, gum, gap = pixels.unbind(1)
    assert enamel.min() > 0.6
    assert gum[0] > 1.4 * gum[1]
    assert gap.mean() < 0.8 * enamel.mean()


def test_depth_darkens() -> None:
    near, far = (shade_mouth(_tooth([0.6], [0.0], d), torch.zeros(1, LOOK), torch.ones(1)).mean() for d in (0.5, 5.0))
    assert far < 0.4 * near


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
