"""The steps of the denoiser: what counts as boiling, and what many steps are."""

import pytest
import torch

from portrait_anim.models.lite.geometry import pixel_grid
from portrait_anim.models.lite.warp import LiteWarpOutput
from portrait_anim.training.networks import LiteNetworks
from portrait_anim.training.paint import Canvas, boiling, distill_step, flow_to_next, integrate, predict
from portrait_anim.training.stages import DATA_KINDS
from portrait_anim.training.step import StepInput


def shifted_pair(shift, size=64):
    """A batch of one pair: the frame is the portrait, in the next frame everything lies `shift` further right."""
    here = pixel_grid(size).permute(2, 0, 1)[None]
    move = torch.tensor([shift, 0.0])[:, None, None]
    return {
        "flow": torch.cat([here, here - move]),
        "forward": torch.cat([here, here + move]),
        "forward_trust": torch.ones(2, 1, size, size),
        "visible": torch.ones(2, 1, size, size),
    }


def test_the_next_frame_is_found_by_way_of_the_portrait():
    to_next, valid = flow_to_next(shifted_pair(0.25))
    inside = valid[0, 0] > 0
    expected = pixel_grid(64)[..., 0] + 0.25
    torch.testing.assert_close(to_next[0, 0][inside], expected[inside], atol=1e-4, rtol=0)
    assert inside[:, :48].float().mean() > 0.9
    assert not inside[:, 60:].any()  # these points have left the picture


def test_an_error_that_moves_with_the_face_does_not_boil():
    to_next, valid = flow_to_next(shifted_pair(0.25))
    weight = torch.ones(2, 1, 64, 64)
    error = torch.zeros(2, 3, 64, 64)
    error[0, :, 20:40, 10:30] = 0.5
    error[1, :, 20:40, 18:38] = 0.5  # 0.25 of half the side is 8 of 64 pixels
    moving = boiling(error, to_next, valid, weight)
    error[1] = error[0]
    standing = boiling(error, to_next, valid, weight)
    assert moving < 1e-3 < standing
    assert boiling(torch.zeros(2, 3, 64, 64), to_next, valid, weight) == 0


def test_hidden_points_cannot_boil():
    batch = shifted_pair(0.0)
    batch["visible"] = torch.zeros_like(batch["visible"])
    to_next, valid = flow_to_next(batch)
    assert valid.sum() == 0
    assert boiling(torch.randn(2, 3, 64, 64), to_next, valid, torch.ones(2, 1, 64, 64)) == 0


def canvas(size=64):
    g = torch.Generator().manual_seed(0)
    r = lambda *shape: torch.rand(2, *shape, generator=g)  # noqa: E731
    quarter, half = size // 4, size // 2
    field = LiteWarpOutput(
        forward_map=r(2, quarter, quarter), depth=r(1, quarter, quarter), coarse_flow=r(2, half, half),
        flow=r(2, half, half), visibility_logits=r(1, quarter, quarter), condition=r(32, quarter, quarter),
        interior=torch.zeros(2, 4, half, half), own_teeth=torch.zeros(2, 1, half, half),
            own_eyes=torch.zeros(2, 1, half, half), bare=torch.zeros(2, 1, half, half),
            behind=torch.ones(2, 1, size, size),
    )  # fmt: skip
    return Canvas(
        target=r(3, size, size), warped=r(3, size, size), field=field, visibility=r(1, quarter, quarter),
        tokens=r(2, 16, 16), context=r(128, quarter // 4, quarter // 4), weight=torch.ones(2, 1, size, size),
        bf16=False,
    )  # fmt: skip


def test_one_step_is_the_prediction_and_more_are_the_scheduler_s():
    """`integrate` takes the steps that the pipeline takes with the Euler scheduler of flow matching."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    nets = LiteNetworks().eval()
    given, noise = canvas(), torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        clean, _ = predict(nets.denoiser, given, noise, torch.ones(2))
        torch.testing.assert_close(integrate(nets.denoiser, given, noise, 1), clean)
        scheduler = FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(sigmas=[1.0, 2 / 3, 1 / 3])
        sample = noise
        for number, timestep in enumerate(scheduler.timesteps):
            time = scheduler.sigmas[number].expand(2)
            clean, _ = predict(nets.denoiser, given, sample, time)
            sample = scheduler.step((sample - clean) / time[0], timestep, sample, return_dict=False)[0]
    torch.testing.assert_close(integrate(nets.denoiser, given, noise, 3), sample, atol=1e-4, rtol=1e-4)


def test_distillation_needs_a_teacher(stored_samples):
    g = torch.Generator().manual_seed(0)
    batch = DATA_KINDS["samples"].prepare(stored_samples(2), g, 1)
    with pytest.raises(ValueError, match="teacher"):
        distill_step(StepInput(nets=LiteNetworks(), draws=g), batch)
