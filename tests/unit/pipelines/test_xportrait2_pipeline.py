"""The pipeline of the `xportrait2` profile with tiny networks of the real classes."""

import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from fractions import Fraction

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny

from portrait_anim.errors import ConsentDenied, InputError, NotEnoughMemory, WeightsMissing
from portrait_anim.media.reader import VideoReader
from portrait_anim.pipelines.context import WindowPlan
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.pipelines.xportrait2 import XPortrait2Pipeline
from portrait_anim.pipelines.xportrait2_crops import cut, motion_boxes
from portrait_anim.pipelines.xportrait2_driving import MotionCropper
from portrait_anim.pipelines.xportrait2_lean_decoder import slice_decoder
from portrait_anim.pipelines.xportrait2_memory import require_memory
from portrait_anim.pipelines.xportrait2_options import SamplingOptions
from portrait_anim.pipelines.xportrait2_tuning import tune
from portrait_anim.types import Frame
from portrait_anim.weights import samples_dir

TINY = AnimationOptions(size_px=128, num_steps=1, crop_only=True)
NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def pipeline(xportrait2):
    return xportrait2


@pytest.fixture(scope="module")
def motion(pipeline):
    with VideoReader(samples_dir() / "driving.mp4", end_s=0.2) as reader:
        return pipeline.extract_motion(iter(reader), Fraction(25))


@pytest.fixture(scope="module")
def permit(give_permit):
    return give_permit("xportrait2")


@pytest.fixture
def run(pipeline, portrait, motion, permit):
    def go(options=TINY, **kwargs):
        return list(go.stream(options, **kwargs))

    def stream(options=TINY, **kwargs):
        return pipeline.stream(portrait, motion, permit=permit, now=NOW, options=options, **kwargs)

    go.stream = stream
    return go


def test_motion_has_tokens_for_every_frame(motion):
    assert motion.latent.shape == (len(motion), 4, 4)
    assert len(motion) >= 4
    assert (motion.status == 0).all()
    assert motion.scale.min() > 30


def test_frames_come_in_order_and_repeat_under_a_seed(run, motion):
    frames = run()
    assert [frame.index for frame in frames] == list(range(len(motion)))
    assert frames[0].image.shape == (128, 128, 3)
    again = run()
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, again, strict=True))
    other = run(AnimationOptions(size_px=128, num_steps=1, crop_only=True, seed=1))
    assert not np.array_equal(frames[0].image, other[0].image)


def test_the_full_frame_keeps_the_portrait_outside_the_crop(run, portrait):
    frame = run(AnimationOptions(size_px=128, num_steps=1))[0]
    assert frame.image.shape == portrait.shape
    assert np.array_equal(frame.image[0], portrait[0])
    assert not np.array_equal(frame.image, portrait)


def test_windows_are_announced_and_can_be_stopped(run):
    seen = []
    run(on_denoise=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 1), (1, 1)]

    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run(before_chunk=stop)


@pytest.mark.parametrize(
    "change", [{"motion": "absolute"}, {"expression_gain": 1.5}, {"pose_gain": 0.5}, {"regions": ("mouth",)},
               {"smoothing": 0.0}],
)  # fmt: skip
def test_options_that_would_be_ignored_are_refused(run, change):
    with pytest.raises(InputError, match=next(iter(change))):
        run(AnimationOptions(size_px=128, num_steps=1, **change))


def test_a_permit_for_another_portrait_or_another_time_is_refused(pipeline, portrait, motion, permit):
    with pytest.raises(ConsentDenied):
        pipeline(portrait[::-1].copy(), motion, permit=permit, now=NOW, options=TINY)
    with pytest.raises(ConsentDenied):
        pipeline(portrait, motion, permit=permit, now=NOW + timedelta(days=9), options=TINY)


def test_saving_and_loading_changes_nothing(pipeline, tmp_path, run, portrait, motion, permit):
    pipeline.save_pretrained(tmp_path)
    again = XPortrait2Pipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    frames = again(portrait, motion, permit=permit, now=NOW, options=TINY)
    assert np.abs(frames[0].image.astype(int) - run()[0].image).max() <= 1


@pytest.mark.parametrize("num_frames", [1, 7, 20, 21, 45, 70])
def test_crops_made_while_reading_are_those_of_the_whole_clip(num_frames):
    rng = np.random.default_rng(num_frames)
    frames = rng.integers(0, 255, (num_frames, 90, 120, 3), np.uint8)
    corners = rng.integers(10, 40, (num_frames, 2))
    boxes = [(float(x), float(y), float(x + 30), float(y + 24)) for x, y in corners]
    cropper = MotionCropper()
    crops = [crop for frame, box in zip(frames, boxes, strict=True) for crop in cropper.add(frame, box)]
    crops += cropper.finish()
    wanted = [cut(frame, box) for frame, box in zip(frames, motion_boxes(boxes, (90, 120)), strict=True)]
    assert all(np.array_equal(a, b) for a, b in zip(crops, wanted, strict=True))


def test_one_window_streamed_is_the_plain_clip_and_drafts_need_their_decoder(run, pipeline):
    plain = run(sampling=SamplingOptions())
    streamed = run(sampling=SamplingOptions(stream=True))
    assert max(np.abs(a.crop.astype(int) - b.crop).max() for a, b in zip(plain, streamed, strict=True)) <= 1
    drafts = replace(TINY, sampling=SamplingOptions(decoder="tiny"))
    with pytest.raises(WeightsMissing, match="preview_vae"):
        run(drafts)
    torch.manual_seed(0)
    narrow = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    pipeline.preview_vae = AutoencoderTiny(**narrow).eval()
    try:
        frames = run(drafts)
    finally:
        pipeline.preview_vae = None
    assert len(frames) == len(plain)
    assert frames[0].crop.shape == plain[0].crop.shape


def test_short_windows_give_out_every_frame_in_order(run, motion):
    options = SamplingOptions(stream=True, plan=WindowPlan(size=3, overlap=1))
    frames = run(sampling=options)
    assert [frame.index for frame in frames] == list(range(len(motion)))


def test_overlapped_decoding_changes_no_pixel_and_talks_in_one_thread(run, motion):
    told = []

    def tell(*what):
        told.append((threading.current_thread(), what))

    options = SamplingOptions(stream=True, plan=WindowPlan(size=3, overlap=1))
    plain = run(sampling=options)
    frames = run(
        sampling=replace(options, overlap=True), before_chunk=tell, on_denoise=tell, on_preview=tell,
    )  # fmt: skip
    assert [frame.index for frame in frames] == list(range(len(motion)))
    assert all(np.array_equal(a.crop, b.crop) for a, b in zip(plain, frames, strict=True))
    assert {thread for thread, _ in told} == {threading.current_thread()}
    assert any(len(what) == 2 and isinstance(what[0], np.ndarray) for _, what in told)


def test_overlapped_decoding_stops_when_told_and_leaves_no_thread(run):
    def stop():
        raise InterruptedError

    options = SamplingOptions(stream=True, overlap=True, plan=WindowPlan(size=3, overlap=1))
    with pytest.raises(InterruptedError):
        run(sampling=options, before_chunk=stop)
    stream = run.stream(sampling=options)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "denoising ahead"]


@pytest.mark.parametrize("stream", [False, True])
def test_previews_come_after_every_step_and_change_nothing(run, motion, stream):
    seen = []
    options = replace(TINY, num_steps=3, sampling=SamplingOptions(stream=stream))
    frames = run(options, on_preview=lambda picture, frame: seen.append((picture, frame)))
    assert [frame for _, frame in seen] == [len(motion) // 2] * 3
    assert all(picture.shape == (128, 128, 3) and picture.dtype == np.uint8 for picture, _ in seen)
    assert not np.array_equal(seen[0][0], seen[-1][0])
    assert all(np.array_equal(a.crop, b.crop) for a, b in zip(frames, run(options), strict=True))


def test_a_second_device_changes_rounding_only(run, pipeline):
    plain = run()
    tune(pipeline, channels_last=False, second_device="cpu")
    try:
        both, forecast = run(), pipeline.forecast(24)
    finally:
        pipeline.replica = None
    assert max(np.abs(a.crop.astype(int) - b.crop).max() for a, b in zip(plain, both, strict=True)) <= 1
    assert forecast.denoising < pipeline.forecast(24).denoising


def test_head_placement_reaches_the_networks(run, pipeline, motion):
    path = np.linspace(0, 5000, len(motion), dtype=np.float32)[:, None]
    moved = replace(motion, anchor=motion.anchor + path)
    bias = pipeline.motion_encoder.placement_in.bias.data
    before = bias.clone()
    bias += 10  # no unit of the tiny network is silent
    try:
        still, told = (pipeline._tokens(moved, SamplingOptions(head_placement=flag)) for flag in (False, True))
    finally:
        bias.copy_(before)
    assert torch.equal(still, torch.from_numpy(motion.latent))
    change = (told - still).abs().amax(dim=(1, 2))
    assert change[0] < 1e-5
    assert change[-1] > 1e-3


def test_it_stops_within_a_call_of_a_network(run):
    asked = []

    def stop():
        asked.append(1)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run(before_chunk=stop)
    assert len(asked) == 1


def test_networks_that_wait_elsewhere_give_the_same_frames(run, pipeline):
    pytest.importorskip("accelerate")
    plain = run()
    pipeline.enable_model_cpu_offload(device="cpu")
    try:
        offloaded = run()
        forecast = pipeline.forecast(24)
    finally:
        pipeline.remove_all_hooks()
    assert all(np.array_equal(a.crop, b.crop) for a, b in zip(plain, offloaded, strict=True))
    assert forecast.weights < pipeline.forecast(24).weights


def test_memory_is_forecast_and_refused_before_the_start(pipeline):
    short = pipeline.forecast(24, size_px=512)
    long = pipeline.forecast(240, size_px=512)
    streamed = pipeline.forecast(240, size_px=512, sampling=SamplingOptions(stream=True))
    assert short.total < long.total
    assert streamed.total <= short.total * 1.01
    assert pipeline.forecast(24, size_px=768).total > 2 * short.total
    with pytest.raises(NotEnoughMemory, match="GiB"):
        require_memory(short, (2**20, 2**20))
    require_memory(short, (2**40, 2**40))
    require_memory(short, None)


def test_channels_last_changes_rounding_only_and_graphs_need_compiling(run, pipeline):
    plain = run()
    tune(pipeline)
    assert np.abs(run()[0].crop.astype(int) - plain[0].crop).max() <= 2
    with pytest.raises(ValueError, match="compiled"):
        tune(pipeline, cuda_graphs=True)


@torch.inference_mode()
def test_a_sliced_decoder_gives_the_same_frames(pipeline):
    latents = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = pipeline.vae.decode(latents, num_frames=5).sample
    names = list(pipeline.vae.state_dict())
    slice_decoder(pipeline.vae, frames=2)
    torch.testing.assert_close(pipeline.vae.decode(latents, num_frames=5).sample, whole, rtol=1e-4, atol=1e-4)
    assert list(pipeline.vae.state_dict()) == names


@pytest.mark.parametrize(("choice", "half"), [("left", 0), ("right", 1)])
def test_a_wide_driver_with_two_faces_follows_the_chosen_one(pipeline, portrait, choice, half):
    height = portrait.shape[0]
    wide = np.full((height, height * 16 // 9, 3), 128, np.uint8)
    small = portrait[::2, ::2][:height, : wide.shape[1] // 2]
    wide[: small.shape[0], : small.shape[1]] = small
    wide[: small.shape[0], wide.shape[1] - small.shape[1] :] = small
    frames = [Frame(image=wide, index=k, time_s=k / 25) for k in range(2)]
    motion = pipeline.extract_motion(iter(frames), Fraction(25), face=choice)
    middle = wide.shape[1] / 2
    assert ((motion.anchor[:, 0] > middle) == bool(half)).all()
    assert (motion.status == 0).all()
