"""Window by window: equal to the plain way where it must be, in memory that does not grow."""

import gc
from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler

from portrait_anim.models import XPortrait2DenoisingUNet
from portrait_anim.models.xportrait2.adapter import DDIM_CONFIG
from portrait_anim.pipelines.context import WindowPlan
from portrait_anim.pipelines.xportrait2_guidance import LazyRow
from portrait_anim.pipelines.xportrait2_options import SamplingOptions
from portrait_anim.pipelines.xportrait2_sampling import denoise, draw_noise
from portrait_anim.pipelines.xportrait2_streaming import NoiseStream, denoise_stream

OPTIONS = SamplingOptions(num_steps=2, plan=WindowPlan(size=4, overlap=1, closed=False), seed=3, stream=True)
TOKEN = torch.ones(1, 8)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(*, over_time):
    torch.manual_seed(0)
    net = XPortrait2DenoisingUNet(block_channels=(32, 32, 32, 32), heads=2, context_dim=8, motion_dim=4).eval()
    with torch.no_grad():
        for name, tensor in net.named_parameters():
            used = "motion_modules" in name or (over_time and "temporal_modules" in name)
            if used and name.endswith("proj_out.weight"):
                tensor.normal_(std=0.3)
    return net


@pytest.fixture(scope="module")
def unet():
    return build(over_time=True)


@torch.inference_mode()
def run(unet, motion, *, options=OPTIONS, streamed=True, **changes):
    token = TOKEN
    scheduler = DDIMScheduler(**DDIM_CONFIG)
    count = len(motion)
    given = {
        "portrait": draw(1, 4, 8, 8, seed=1), "options": options,
        "unconditional": unet.condition(torch.zeros_like(token), None, draw(1, 6, 4, seed=2)), **changes,
    }  # fmt: skip
    if not streamed:
        return denoise(
            unet, scheduler, conditional=unet.condition(token, None, motion), offsets=[0] * options.num_steps,
            noise=draw_noise((4, count, 8, 8), options.seed), **given,
        )  # fmt: skip
    row = LazyRow(unet=unet, still=unet.condition(token, None, motion[:1]), motion=motion)
    runs = denoise_stream(
        unet, scheduler, conditional=row, noise=NoiseStream((4, count, 8, 8), options.seed), num_frames=count, **given
    )
    return torch.cat(list(runs), dim=1)


def test_noise_is_that_of_the_whole_clip():
    whole = draw_noise((4, 7, 8, 8), 5)
    stream = NoiseStream((4, 7, 8, 8), 5)
    assert torch.equal(torch.cat([stream.take(4), stream.take(1), stream.take(2)], dim=1), whole)
    with pytest.raises(ValueError, match="multiples of 4"):
        NoiseStream((4, 7, 3, 3), 5)


def test_a_clip_of_one_window_is_what_the_plain_way_makes(unet):
    for count in (1, 4):
        motion = draw(count, 6, 4, seed=count)
        torch.testing.assert_close(run(unet, motion), run(unet, motion, streamed=False), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "change", [{}, {"solver": "dpm++"}, {"solver": "unipc"}, {"cache_every": 2}, {"guided": (0, 0.4)}]
)
def test_frames_that_do_not_see_each_other_are_equal_whatever_the_windows(change):
    net = build(over_time=False)
    motion = draw(9, 6, 4, seed=4)
    options = replace(OPTIONS, num_steps=3, **change)
    plain = run(net, motion, options=options, streamed=False)
    torch.testing.assert_close(run(net, motion, options=options), plain, rtol=1e-3, atol=1e-3 * float(plain.std()))


def test_frames_see_earlier_windows_and_never_later_ones(unet):
    motion = draw(10, 6, 4, seed=4)
    base = run(unet, motion)
    early, late = motion.clone(), motion.clone()
    early[1], late[9] = -early[1], -late[9]
    assert (run(unet, early) - base)[:, 4:7].abs().max() > 1e-4
    changed = (run(unet, late) - base).abs().amax(dim=(0, 2, 3))
    assert changed[:6].max() < 1e-6
    assert changed[9] > 1e-4
    # The plain way has no such order.
    plain = run(unet, motion, streamed=False)
    assert (run(unet, late, streamed=False) - plain).abs().amax(dim=(0, 2, 3))[:4].max() > 1e-6


def held_bytes():
    # By type, as isinstance() wakes deprecated objects inside torch.
    return sum(x.numel() * x.element_size() for x in gc.get_objects() if type(x) is torch.Tensor)


@torch.inference_mode()
def peak(unet, count):
    """Most bytes of tensors that are held between calls of the network, and how many frames there were."""
    seen = []
    motion = draw(count, 6, 4, seed=4)
    row = LazyRow(unet=unet, still=unet.condition(TOKEN, None, motion[:1]), motion=motion)
    gc.collect()
    before = held_bytes()
    runs = denoise_stream(
        unet, DDIMScheduler(**DDIM_CONFIG), portrait=draw(1, 4, 8, 8), conditional=row, num_frames=count,
        unconditional=unet.condition(TOKEN, None, motion[:1]), noise=NoiseStream((4, count, 8, 8), 0),
        options=replace(OPTIONS, cache_every=2), on_window=lambda done, total: seen.append(held_bytes() - before),
    )  # fmt: skip
    frames = sum(latents.shape[1] for latents in runs)
    return max(seen), frames


def test_tensors_held_do_not_grow_with_the_clip(unet):
    short, frames = peak(unet, 10)
    assert frames == 10
    long, frames = peak(unet, 40)
    assert frames == 40
    assert long <= short
    assert short > 0


def test_calls_are_announced_and_can_be_stopped(unet):
    seen = []
    motion = draw(10, 6, 4, seed=4)
    run(unet, motion, on_window=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 6) for k in range(7)]

    def stop(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run(unet, motion, on_window=stop)
