"""Denoising of the published pipeline: start, steps, guidance, seed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from portrait_anim.models.xportrait2.adapter import DDIM_CONFIG
from portrait_anim.models.xportrait2.denoising_unet import RowCondition
from portrait_anim.pipelines.context import WindowPlan
from portrait_anim.pipelines.xportrait2_sampling import (
    SamplingOptions,
    blur_latent,
    denoise,
    draw_noise,
    draw_offsets,
)

OPTIONS = SamplingOptions(num_steps=2, plan=WindowPlan(size=4, overlap=1), seed=3)


@pytest.fixture
def scheduler():
    return DDIMScheduler(**DDIM_CONFIG)


@pytest.fixture
def run(unet, scheduler):
    """Denoise seven frames; keyword arguments change the inputs."""
    generator = torch.Generator().manual_seed(1)
    inputs = {
        "portrait": torch.randn(1, 4, 8, 8, generator=generator),
        "motion": torch.randn(7, 6, 4, generator=generator),
        "still": torch.randn(1, 6, 4, generator=generator),
    }

    @torch.inference_mode()
    def go(options=OPTIONS, offsets=None, on_window=None, **changes):
        given = inputs | changes
        token = torch.ones(1, 8)
        frames = len(given["motion"])
        return denoise(
            unet, scheduler, portrait=given["portrait"],
            unconditional=unet.condition(torch.zeros_like(token), None, given["still"]),
            conditional=unet.condition(token, None, given["motion"]),
            noise=draw_noise((4, frames, 8, 8), options.seed),
            offsets=draw_offsets(options, frames) if offsets is None else offsets,
            options=options, on_window=on_window,
        )  # fmt: skip

    return go


def test_the_scheduler_is_the_published_one(parity, scheduler):
    golden = parity.table("golden_context_ddim_crop.json")["ddim"]
    assert {key: scheduler.config[key] for key in golden["config"]} == golden["config"]
    torch.testing.assert_close(
        scheduler.alphas_cumprod, torch.tensor(golden["alphas_cumprod"]), rtol=1e-6, atol=1e-9
    )
    for steps, timesteps in golden["timesteps"].items():
        scheduler.set_timesteps(int(steps))
        assert scheduler.timesteps.tolist() == timesteps


def test_steps_noise_and_blur_are_the_published_ones(parity, scheduler):
    golden = {key: torch.from_numpy(value) for key, value in parity.arrays("golden_scheduler_preproc.npz").items()
              if key in ("x", "eps", "step_t", "prev", "add_noise", "blur_in", "blur_out")}  # fmt: skip
    scheduler.set_timesteps(35)
    assert torch.equal(scheduler.timesteps, golden["step_t"])
    for index, timestep in enumerate(golden["step_t"]):
        stepped = scheduler.step(golden["eps"], timestep, golden["x"], return_dict=False)[0]
        assert parity.error(stepped, golden["prev"][index]) < 1e-6
        noised = scheduler.add_noise(golden["x"], golden["eps"], timestep[None])
        assert parity.error(noised, golden["add_noise"][index]) < 1e-6
    assert parity.error(blur_latent(golden["blur_in"]), golden["blur_out"]) < 1e-6


def test_the_seed_governs_noise_and_windows(run):
    first = run()
    assert torch.equal(first, run())
    other = replace(OPTIONS, seed=4)
    assert not torch.equal(first, run(other))
    assert draw_offsets(replace(OPTIONS, num_steps=20), 7) == draw_offsets(replace(OPTIONS, num_steps=20), 7)
    assert draw_offsets(replace(OPTIONS, num_steps=20), 7) != draw_offsets(replace(other, num_steps=20), 7)
    assert draw_offsets(OPTIONS, 4) == [0, 0]


def test_window_offsets_matter_only_for_clips_longer_than_a_window(run):
    assert not torch.allclose(run(offsets=[0, 0]), run(offsets=[2, 1]))
    short = torch.randn(4, 6, 4, generator=torch.Generator().manual_seed(9))
    assert torch.equal(run(motion=short, offsets=[0, 0]), run(motion=short, offsets=[2, 1]))


def test_guidance_of_one_is_the_conditional_row_alone(run, unet):
    still = torch.zeros(1, 6, 4)
    plain = run(replace(OPTIONS, guidance=1.0))
    assert torch.equal(plain, run(replace(OPTIONS, guidance=1.0), still=still))
    guided = run(replace(OPTIONS, guidance=2.0))
    assert not torch.allclose(guided, run(replace(OPTIONS, guidance=2.0), still=still))
    assert not torch.allclose(guided, plain)


def test_guidance_can_be_limited_to_part_of_the_steps(run):
    always, never = run(replace(OPTIONS, guided=(0.0, 1.0))), run(replace(OPTIONS, guided=(0.0, 0.0)))
    assert torch.equal(always, run())
    assert torch.equal(never, run(replace(OPTIONS, guidance=1.0)))
    first_step = run(replace(OPTIONS, guided=(0.0, 0.5)))
    assert not torch.allclose(first_step, always)
    assert not torch.allclose(first_step, never)
    for wrong in ((-0.1, 1.0), (0.6, 0.5), (0.0, 1.1)):
        with pytest.raises(ValueError, match="within 0 to 1"):
            SamplingOptions(guided=wrong)


@torch.inference_mode()
@pytest.mark.parametrize("solver", ["ddim", "dpm++", "unipc"])
def test_solvers_agree_on_a_known_image(scheduler, solver):
    """If the network knows the clean image, every solver arrives at it."""
    clean = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    condition = RowCondition(image=(torch.zeros(1, 1),), reference=(None,), motion=())

    def predict(sample, timestep, rows):
        alpha = scheduler.alphas_cumprod[timestep]
        return ((sample - alpha.sqrt() * clean) / (1 - alpha).sqrt())[None]

    result = denoise(
        predict, scheduler, portrait=torch.zeros(1, 4, 8, 8), unconditional=condition, conditional=condition,
        noise=draw_noise((4, 1, 8, 8), 0), offsets=[0] * 12,
        options=SamplingOptions(num_steps=12, guidance=1.0, solver=solver),
    )  # fmt: skip
    assert (result - clean).abs().max() < 0.05
    with pytest.raises(ValueError, match="expected a solver"):
        SamplingOptions(solver="euler")


def test_every_input_reaches_the_result(run):
    base = run()
    assert not torch.allclose(base, run(portrait=torch.ones(1, 4, 8, 8)))
    assert not torch.allclose(base, run(replace(OPTIONS, num_steps=3)))
    assert not torch.allclose(base, run(replace(OPTIONS, plan=WindowPlan(size=5, overlap=1))))
    assert not torch.allclose(base, run(replace(OPTIONS, plan=WindowPlan(size=4, overlap=1, closed=False))))


def test_progress_counts_windows_and_can_stop(run):
    seen = []
    run(on_window=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 6) for k in range(7)]

    def stop(done, total):
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run(on_window=stop)


def test_blur_is_nearly_a_box_and_mirrors_at_the_border():
    spot = torch.zeros(1, 1, 16, 16)
    spot[..., 8, 8] = 1
    blurred = blur_latent(spot)[0, 0]
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-5)
    assert np.isclose(blurred[4:13, 4:13].min(), 1 / 81, rtol=0.1)
    flat = blur_latent(torch.full((1, 4, 16, 16), 0.3))
    torch.testing.assert_close(flat, torch.full_like(flat, 0.3))
