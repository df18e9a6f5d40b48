import torch

from portrait_anim.training.synthetic.shading import (
    box_blur,
    dilate,
    gaussian_blur,
    luminance,
    push_pull,
    vertex_normals,
)


def test_normals_point_away_from_a_counter_clockwise_triangle() -> None:
    vertices = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [9.0, 9.0, 9.0]]])
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2]]))
    assert torch.allclose(normals[0, :3], torch.tensor([0.0, 0.0, 1.0]).expand(3, 3))
    assert (normals[0, 3] == 0).all()


def test_filters_keep_a_constant() -> None:
    constant = torch.full((1, 2, 20, 20), 0.4)
    for out in (box_blur(constant, 5), gaussian_blur(constant, 2.0), dilate(constant, 3)):
        assert torch.allclose(out, constant, atol=1e-6)


def test_push_pull_keeps_the_known_and_fills_the_rest() -> None:
    value = torch.zeros(1, 1, 16, 16)
    value[..., :8] = 1.0
    weight = torch.zeros(1, 1, 16, 16)
    weight[..., :4], weight[..., 12:] = 1.0, 1.0
    filled = push_pull(value, weight)
    assert (filled[..., :4] == 1).all()
    assert (filled[..., 12:] == 0).all()
    assert ((filled >= 0) & (filled <= 1)).all()
    assert filled[..., 5].mean() > filled[..., 10].mean()


def test_light_from_the_camera_brightens_what_faces_it() -> None:
    light = torch.zeros(1, 9)
    light[0, 0], light[0, 3] = 0.5, 0.3
    normals = torch.tensor([[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, -9.0]]])
    front, side, back = luminance(normals, light)[0]
    assert front > side > back
    assert back >= 0.08
