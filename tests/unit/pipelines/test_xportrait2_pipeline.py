"""The pipeline of the `xportrait2` profile with tiny networks of the real classes."""

from datetime import datetime, timedelta, timezone
from fractions import Fraction

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder, DDIMScheduler

from portrait_anim.consent import permit as gate
from portrait_anim.consent.grants import grant
from portrait_anim.consent.store import open_store
from portrait_anim.enrolment import enroll_fictional_from_file
from portrait_anim.errors import ConsentDenied, InputError
from portrait_anim.face.detect import FaceDetector, find_face
from portrait_anim.face.identity import load_identity_encoder
from portrait_anim.media.image import pixel_digest, read_image
from portrait_anim.media.reader import VideoReader
from portrait_anim.models import (
    XPortrait2DenoisingUNet,
    XPortrait2ImageEncoder,
    XPortrait2MotionEncoder,
    XPortrait2ReferenceUNet,
)
from portrait_anim.models.xportrait2.adapter import DDIM_CONFIG, SVD_VAE_CONFIG
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.pipelines.xportrait2 import XPortrait2Pipeline
from portrait_anim.pipelines.xportrait2_crops import cut, motion_boxes
from portrait_anim.pipelines.xportrait2_driving import MotionCropper
from portrait_anim.weights import samples_dir

UNET = {"block_channels": (32, 32, 32, 32), "heads": 2, "context_dim": 8}
TINY = AnimationOptions(size_px=128, num_steps=1, crop_only=True)
NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def pipeline():
    torch.manual_seed(0)
    built = XPortrait2Pipeline(
        motion_encoder=XPortrait2MotionEncoder(
            sample_size=64, channels=128, depth=2, attention_dim=16, attention_heads=2, num_maps=4, feature_dim=8,
            placement_dim=4, num_tokens=4, token_dim=4,
        ).eval(),
        reference_unet=XPortrait2ReferenceUNet(**UNET).eval(),
        denoising_unet=XPortrait2DenoisingUNet(motion_dim=4, **UNET).eval(),
        vae=AutoencoderKLTemporalDecoder(
            **SVD_VAE_CONFIG | {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1}
        ).eval(),
        image_encoder=XPortrait2ImageEncoder(
            sample_size=28, channels=8, depth=1, heads=2, hidden_dim=8, projection_dim=8
        ).eval(),
        scheduler=DDIMScheduler(**DDIM_CONFIG),
    )  # fmt: skip
    with torch.no_grad():
        for name, tensor in built.denoising_unet.named_parameters():
            if "modules" in name and name.endswith("proj_out.weight"):
                tensor.normal_(std=0.3)
    built.set_progress_bar_config(disable=True)
    return built


@pytest.fixture(scope="module")
def portrait():
    return read_image(samples_dir() / "portrait.jpg")


@pytest.fixture(scope="module")
def motion(pipeline):
    with VideoReader(samples_dir() / "driving.mp4", end_s=0.2) as reader:
        return pipeline.extract_motion(iter(reader), Fraction(25))


@pytest.fixture(scope="module")
def permit(tmp_path_factory, portrait):
    """The gate's own permit for the sample actor, who does not exist."""
    terms = {
        "grantee": "operator", "purpose": "test", "allowed_contexts": ["animate"],
        "expires": NOW + timedelta(hours=1), "max_renders": 5, "max_seconds": 60.0, "now": NOW,
    }  # fmt: skip
    with open_store(tmp_path_factory.mktemp("home")) as store, FaceDetector() as detector:
        cameo = enroll_fictional_from_file(
            store, portrait=samples_dir() / "portrait.jpg", name="Actor", statement="Does not exist.", now=NOW
        )
        grant(store, cameo.id, **terms)
        embedding = load_identity_encoder("auto").embed(portrait, find_face(portrait, detector, None))
        request = gate.RenderRequest(
            cameo_id=cameo.id, portrait_digest=pixel_digest(portrait), portrait_embedding=embedding,
            grantee="operator", purpose="test", context="animate", duration_s=0.2, profile="xportrait2",
        )  # fmt: skip
        return gate.authorise(store, request, now=NOW)


@pytest.fixture
def run(pipeline, portrait, motion, permit):
    def go(options=TINY, **kwargs):
        return pipeline(portrait, motion, permit=permit, now=NOW, options=options, **kwargs)

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
    assert seen == [(0, 1)]

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
