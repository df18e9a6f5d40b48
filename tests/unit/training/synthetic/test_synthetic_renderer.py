from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from portrait_anim.training.synthetic.camera import Window
from portrait_anim.training.synthetic.clips import render_clip, render_still
from portrait_anim.training.synthetic.motion import Gesture
from portrait_anim.training.synthetic.pack import Pack
from portrait_anim.training.synthetic.people import Cast
from portrait_anim.training.synthetic.renderer import Renderer
from portrait_anim.training.synthetic.samples import TrainingBatch, limit_turn, usable_rows

REAL = (42, 67, 707, 857)


def gesture(renderer: Renderer, n: int, *, yaw: float = 0.0, **expression: float) -> Gesture:
    head = torch.zeros(n, 3)
    head[:, 0] = yaw
    return Gesture(
        expr=renderer.statistics.shape(**expression).expand(n, -1),
        head=head,
        shift=torch.zeros(n, 3),
        gaze=torch.zeros(n, 2),
    )


def rendered(renderer: Renderer, wanted: Gesture) -> torch.Tensor:
    who = torch.arange(len(wanted))
    return renderer.render(who, renderer.motion_of(who, wanted)).image


def test_the_untouched_pose_looks_like_the_photograph(toy_cast: Cast) -> None:
    renderer = Renderer(toy_cast, size_px=64)
    who = torch.arange(3)
    out = renderer.render(who, renderer.motion_of(who, renderer.photographed(who)))
    assert out.image.shape == (3, 3, 64, 64)
    skin = slice(20, 44)
    assert (out.back - renderer.pixels)[:, skin, skin].abs().median() < 1.0  # photo units
    assert (out.image - renderer.photos(who))[..., 46:50, 28:36].abs().mean() < 0.05


@pytest.mark.parametrize("supersample", [1, 2, 3])
def test_supersampling_keeps_size_and_geometry(toy_cast: Cast, supersample: int) -> None:
    renderer = Renderer(toy_cast, size_px=48, supersample=supersample)
    plain = Renderer(toy_cast, size_px=48)
    wanted = gesture(renderer, 3, yaw=12.0, jawOpen=0.4)
    a, b = rendered(renderer, wanted), rendered(plain, wanted)
    assert a.shape == b.shape
    assert (a - b).abs().mean() < 0.05


def test_a_turn_moves_the_nose_to_the_right_of_the_picture(toy_cast: Cast) -> None:
    renderer = Renderer(toy_cast, size_px=64)
    who = torch.zeros(1, dtype=torch.long)
    xs = []
    for yaw in (-20.0, 0.0, 20.0):
        out = renderer.render(who, renderer.motion_of(who, gesture(renderer, 1, yaw=yaw)))
        tip = toy_cast.people.vertices[0, : len(toy_cast.mesh.skin_vertices), 2].argmax()
        xs.append(float(out.vertices[0, tip, 0]))
    assert xs[0] < xs[1] < xs[2]


def test_a_window_is_a_crop_of_a_wider_one(toy_cast: Cast) -> None:
    wide = Renderer(toy_cast, size_px=64, window=Window(left=0.0, top=0.0, span=1024.0))
    narrow = Renderer(toy_cast, size_px=32, window=Window(left=256.0, top=256.0, span=512.0))
    wanted = gesture(wide, 1, yaw=8.0)
    difference = rendered(wide, wanted)[..., 16:48, 16:48] - rendered(narrow, wanted)
    assert difference.abs().median() < 0.01


def test_a_changed_shape_changes_the_render_but_not_the_photograph(toy_cast: Cast) -> None:
    people = replace(toy_cast.people, reshape=torch.tensor([[2.0, 1.0, 0.0, 0.0]]).expand(3, 4).clone())
    wider, plain = Renderer(replace(toy_cast, people=people), size_px=48), Renderer(toy_cast, size_px=48)
    wanted = gesture(plain, 1)
    assert (rendered(wider, wanted) - rendered(plain, wanted)).abs().mean() > 0.005
    assert torch.equal(wider.photos(torch.arange(3)), plain.photos(torch.arange(3)))


def test_rendering_is_deterministic(toy_cast: Cast) -> None:
    renderer = Renderer(toy_cast, size_px=48)
    wanted = gesture(renderer, 3, yaw=-9.0, browInnerUp=0.6)
    assert torch.equal(rendered(renderer, wanted), rendered(renderer, wanted))


def test_sizes_must_make_sense(toy_cast: Cast) -> None:
    with pytest.raises(ValueError, match="size_px >= 16"):
        Renderer(toy_cast, size_px=8)


def test_clip_frames_do_not_depend_on_the_batch(toy_cast: Cast) -> None:
    renderer = Renderer(toy_cast, size_px=32)
    curves = gesture(renderer, 5, yaw=10.0)
    one = list(render_clip(renderer, 1, curves, batch=1))
    three = list(render_clip(renderer, 1, curves, batch=3))
    assert len(one) == 5
    assert one[0].shape == (32, 32, 3)
    assert one[0].dtype == np.uint8
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(one, three, strict=True))
    assert render_still(renderer, 1, curves.rows(torch.tensor([0]))).shape == (32, 32, 3)
    with pytest.raises(ValueError, match="below 3"):
        next(render_clip(renderer, 3, curves))


def check_contract(batch: TrainingBatch, B: int, S: int) -> None:
    half, quarter = S // 2, S // 4
    expected = {
        "source": ((B, 3, S, S), torch.uint8), "target": ((B, 3, S, S), torch.uint8),
        "driver": ((B, 3, S, S), torch.uint8), "flow": ((B, 2, half, half), torch.float16),
        "visible": ((B, 1, half, half), torch.uint8), "forward": ((B, 2, half, half), torch.float16),
        "forward_trust": ((B, 1, half, half), torch.uint8), "points": ((B, 7, quarter, quarter), torch.float16),
        "expr_src": ((B, 53), torch.float32), "expr_drv": ((B, 53), torch.float32),
        "head_src": ((B, 3), torch.float32), "head_tgt": ((B, 3), torch.float32),
        "head_drv": ((B, 3), torch.float32), "gaze_src": ((B, 2), torch.float32),
        "gaze_drv": ((B, 2), torch.float32), "anchor_src": ((B, 3), torch.float32),
        "anchor_tgt": ((B, 3), torch.float32), "anchor_drv": ((B, 3), torch.float32),
        "who": ((B,), torch.int64), "other": ((B,), torch.int64), "role": ((B, 2), torch.bool),
    }  # fmt: skip
    values = batch.as_dict()
    assert {k: (tuple(v.shape), v.dtype) for k, v in values.items()} == expected
    assert all(torch.isfinite(v.float()).all() for v in values.values())


def test_a_training_batch_keeps_its_contract(toy_cast: Cast) -> None:
    renderer = Renderer(toy_cast, size_px=32)
    batch = renderer.sample(12, torch.Generator().manual_seed(0))
    check_contract(batch, 12, 32)
    assert (batch.who != batch.other).all()
    assert not batch.role.all(1).any()
    photo_target = batch.role[:, 0]
    photos = (renderer.photos(batch.who) * 255 + 0.5).to(torch.uint8)
    assert torch.equal(batch.target[photo_target], photos[photo_target])
    assert torch.equal(batch.source[batch.role[:, 1]], photos[batch.role[:, 1]])
    assert (batch.head_drv - batch.head_tgt).abs().max() < 12
    again = renderer.sample(12, torch.Generator().manual_seed(0)).as_dict()
    assert all(torch.equal(v, again[k]) for k, v in batch.as_dict().items())


def test_shares_of_roles_are_checked_and_kept(toy_cast: Cast) -> None:
    renderer = Renderer(toy_cast, size_px=16)
    only_renders = renderer.sample(4, torch.Generator().manual_seed(1), photo_target=0.0, two_renders=1.0)
    assert not only_renders.role.any()
    only_targets = renderer.sample(4, torch.Generator().manual_seed(1), photo_target=1.0, two_renders=0.0)
    assert only_targets.role[:, 0].all()
    with pytest.raises(ValueError, match="at most 1"):
        renderer.sample(2, torch.Generator(), photo_target=0.8, two_renders=0.4)


def test_held_out_people_are_kept_apart(toy_cast: Cast) -> None:
    people = replace(toy_cast.people, number=torch.tensor([11, 12, 24]))
    cast = replace(toy_cast, people=people)
    assert usable_rows(Renderer(cast, size_px=16, split="train"))[0].tolist() == [0]
    assert usable_rows(Renderer(cast, size_px=16, split="evaluation"))[0].tolist() == [1, 2]
    assert usable_rows(Renderer(cast, size_px=16))[0].tolist() == [0, 1, 2]


def test_people_seen_from_one_side_are_not_turned_far_to_the_other() -> None:
    head = torch.tensor([[-25.0, 1.0, 2.0], [-25.0, 1.0, 2.0], [25.0, 0.0, 0.0]])
    out = limit_turn(torch.tensor([10.0, 0.0, -10.0]), head)
    assert out[:, 0].tolist() == [-12.0, -25.0, 12.0]
    assert torch.equal(out[:, 1:], head[:, 1:])


def warp_error(batch: TrainingBatch) -> tuple[float, float, float]:
    """Mean colour error of the warped and of the untouched source on visible pixels, and the visible share."""
    visible = F.interpolate(batch.visible.float() / 255, scale_factor=2) > 0.9
    flow = F.interpolate(batch.flow.float(), scale_factor=2, mode="bilinear", align_corners=False)
    warped = F.grid_sample(batch.source.float(), flow.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)
    errors = [(x - batch.target.float()).abs().mean(1, keepdim=True)[visible].mean() for x in (warped, batch.source)]
    return float(errors[0]), float(errors[1]), float(visible.float().mean())


@pytest.mark.parametrize("roles", [(1.0, 0.0), (0.0, 0.0), (0.0, 1.0)])
def test_flow_carries_the_source_onto_the_target(toy_cast: Cast, roles: tuple[float, float]) -> None:
    renderer = Renderer(toy_cast, size_px=96)
    batch = renderer.sample(6, torch.Generator().manual_seed(2), photo_target=roles[0], two_renders=roles[1])
    warped, untouched, share = warp_error(batch)
    assert share > 0.3
    assert warped < 0.45 * untouched


@pytest.mark.parametrize("roles", [(1.0, 0.0), (0.0, 0.0), (0.0, 1.0)])
def test_flow_of_people_of_the_pack(pack: Pack, roles: tuple[float, float]) -> None:
    renderer = Renderer.from_pack(pack, size_px=128, numbers=REAL)
    batch = renderer.sample(4, torch.Generator().manual_seed(3), photo_target=roles[0], two_renders=roles[1])
    check_contract(batch, 4, 128)
    warped, untouched, share = warp_error(batch)
    assert share > 0.6
    assert warped < 9
    assert warped < 0.5 * untouched


def test_forward_map_inverts_the_flow(pack: Pack) -> None:
    renderer = Renderer.from_pack(pack, size_px=128, numbers=REAL)
    batch = renderer.sample(4, torch.Generator().manual_seed(4))
    flow, forward = batch.flow.float(), batch.forward.float()
    there_and_back = F.grid_sample(forward, flow.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)
    line = (torch.arange(64) + 0.5) / 32 - 1
    here = torch.stack(torch.meshgrid(line, line, indexing="xy"))
    miss = (there_and_back - here).norm(dim=1) * 64  # pixels at 128
    assert miss[batch.visible[:, 0] > 250].median() < 1.0
