"""What every profile's pipeline promises, whichever networks it has."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from fractions import Fraction

import numpy as np
import pytest

from portrait_anim.errors import ConsentDenied
from portrait_anim.loading import load_pipeline
from portrait_anim.media.reader import VideoReader
from portrait_anim.pipelines.motion_file import load_motion, save_motion
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.weights import samples_dir

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
OPTIONS = AnimationOptions(size_px=128, num_steps=1, crop_only=True)


@pytest.fixture(scope="module", params=["lite", "xportrait2"])
def case(request, portrait, give_permit):
    """A profile, its pipeline, a portrait, motion and a permit."""
    pipeline = load_pipeline("lite") if request.param == "lite" else request.getfixturevalue("xportrait2")
    with VideoReader(samples_dir() / "driving.mp4", end_s=0.2) as reader:
        motion = pipeline.extract_motion(iter(reader), Fraction(25))
    permit = give_permit(request.param)

    def stream(options=OPTIONS, portrait=portrait, now=NOW, motion=motion, **kwargs):
        return pipeline.stream(portrait, motion, permit=permit, now=now, options=options, **kwargs)

    stream.profile, stream.motion, stream.portrait = request.param, motion, portrait
    return stream


def test_frames_come_one_by_one_in_order_with_their_times(case):
    stream = case()
    assert iter(stream) is stream
    frames = list(stream)
    assert [frame.index for frame in frames] == list(range(len(case.motion)))
    assert [frame.time_s for frame in frames] == pytest.approx([k / 25 for k in range(len(frames))])
    for frame in frames:
        assert frame.crop.shape == (128, 128, 3)
        assert frame.crop.dtype == np.uint8
        assert np.array_equal(frame.image, frame.crop)


def test_a_seed_decides_every_pixel(case):
    first, again = next(case()).crop, next(case()).crop
    assert np.array_equal(first, again)
    other = next(case(replace(OPTIONS, seed=7))).crop
    assert not np.array_equal(first, other)


def test_the_full_frame_keeps_what_the_crop_does_not_show(case):
    frame = next(case(replace(OPTIONS, crop_only=False)))
    assert frame.image.shape == case.portrait.shape
    assert np.array_equal(frame.image[0, 0], case.portrait[0, 0])


def test_the_permit_is_for_this_portrait_and_time(case):
    with pytest.raises(ConsentDenied):
        next(case(portrait=case.portrait[:, ::-1].copy()))
    with pytest.raises(ConsentDenied):
        next(case(now=NOW + timedelta(days=2)))


def test_it_stops_when_told(case):
    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list(case(before_chunk=stop))


def test_motion_from_a_file_is_the_motion(case, tmp_path):
    save_motion(tmp_path / "motion.safetensors", case.motion, profile=case.profile)
    again = load_motion(tmp_path / "motion.safetensors", profile=case.profile)
    assert np.array_equal(next(case(motion=again)).crop, next(case()).crop)
