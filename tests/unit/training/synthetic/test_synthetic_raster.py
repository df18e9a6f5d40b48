import pytest
import torch

from portrait_anim.training.synthetic.raster import interpolate, rasterize

TRIANGLE = torch.tensor([[0, 1, 2]])


def draw(xy: list[list[float]], z: list[float], tris: torch.Tensor, size: tuple[int, int] = (16, 16)) -> torch.Tensor:
    ids, _ = rasterize(torch.tensor([xy]), torch.tensor([z]), tris, size)
    return ids[0, 0]


def test_covers_exactly_the_pixels_whose_centres_are_inside() -> None:
    ids = draw([[2.0, 2.0], [10.0, 2.0], [2.0, 10.0]], [5.0] * 3, TRIANGLE)
    y, x = torch.meshgrid(torch.arange(16) + 0.5, torch.arange(16) + 0.5, indexing="ij")
    inside = (x >= 2) & (y >= 2) & (x + y <= 12)
    assert torch.equal(ids >= 0, inside)


def test_nearer_triangle_wins_whatever_the_order() -> None:
    xy = [[0.0, 0.0], [12.0, 0.0], [0.0, 12.0]] * 2
    both = torch.tensor([[0, 1, 2], [3, 4, 5]])
    for z, winner in (([9.0] * 3 + [4.0] * 3, 1), ([4.0] * 3 + [9.0] * 3, 0)):
        ids = draw(xy, z, both)
        assert set(ids[ids >= 0].tolist()) == {winner}


@pytest.mark.parametrize("side", [40, 90, 300])
def test_triangles_larger_than_every_small_window_are_drawn(side: int) -> None:
    far = float(3 * side)
    ids = draw([[-far, -far], [far, -far], [0.0, far]], [1.0] * 3, TRIANGLE, (side, side))
    assert (ids == 0).all()


def test_triangles_outside_or_without_area_draw_nothing() -> None:
    assert (draw([[-9.0, -9.0], [-3.0, -9.0], [-9.0, -3.0]], [1.0] * 3, TRIANGLE) < 0).all()
    assert (draw([[1.0, 1.0], [5.0, 5.0], [9.0, 9.0]], [1.0] * 3, TRIANGLE) < 0).all()


def test_interpolation_is_exact_for_linear_attributes() -> None:
    xy = torch.tensor([[[1.3, 0.7], [14.2, 3.1], [5.5, 15.0]]])
    ids, equations = rasterize(xy, torch.tensor([[3.0, 4.0, 5.0]]), TRIANGLE, (16, 16))
    out = interpolate(xy, ids[:, 0], equations, TRIANGLE)
    drawn = ids[0, 0] >= 0
    y, x = torch.meshgrid(torch.arange(16) + 0.5, torch.arange(16) + 0.5, indexing="ij")
    assert drawn.sum() > 50
    assert torch.allclose(out[0][drawn], torch.stack([x, y], -1)[drawn], atol=1e-3)
    assert (out[0][~drawn] == 0).all()


def test_interpolation_keeps_other_pixels_of_a_given_picture() -> None:
    xy = torch.tensor([[[2.0, 2.0], [6.0, 2.0], [2.0, 6.0]]])
    ids, equations = rasterize(xy, torch.ones(1, 3), TRIANGLE, (8, 8))
    out = torch.full((1, 8, 8, 1), 7.0)
    interpolate(torch.zeros(1, 3, 1), ids[:, 0], equations, TRIANGLE, out=out)
    assert (out[0, ..., 0] == torch.where(ids[0, 0] >= 0, 0.0, 7.0)).all()


def test_planes_and_pictures_do_not_mix() -> None:
    a = [[1.0, 1.0], [7.0, 1.0], [1.0, 7.0]]
    b = [[9.0, 9.0], [15.0, 9.0], [9.0, 15.0]]
    xy = torch.tensor([a + b, b + a])
    tris = torch.tensor([[0, 1, 2], [3, 4, 5]])
    ids, _ = rasterize(xy, torch.ones(2, 6), tris, (16, 16), plane=torch.tensor([0, 1]), planes=2)
    assert set(ids[:, 0].unique().tolist()) == {-1, 0}
    assert set(ids[:, 1].unique().tolist()) == {-1, 1}
    assert torch.equal(ids[0, 0] >= 0, ids[1, 1] >= 0)


def test_a_batch_is_the_same_as_its_parts() -> None:
    g = torch.Generator().manual_seed(3)
    xy, z = torch.rand(3, 30, 2, generator=g) * 40 - 4, torch.rand(3, 30, generator=g) + 1
    tris = torch.randint(0, 30, (50, 3), generator=g)
    together, _ = rasterize(xy, z, tris, (32, 32))
    for k in range(3):
        alone, _ = rasterize(xy[k : k + 1], z[k : k + 1], tris, (32, 32))
        assert torch.equal(alone[0], together[k])
