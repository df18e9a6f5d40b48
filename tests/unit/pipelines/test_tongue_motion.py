"""Tongues from clip to portrait: at rest, smoothed, kept in files, let through by the jaw."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from portrait_anim.errors import InputError
from portrait_anim.models.lite.expressions import EXPRESSIONS, ExpressionHeads
from portrait_anim.pipelines.motion import MotionSequence, StillMotion, smooth_sequence
from portrait_anim.pipelines.motion_file import load_motion, save_motion
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.pipelines.tongue import let_through, tongue_to_show
from portrait_anim.pipelines.transfer import HeadCoefficients, transfer

COUNT, JAW = 20, EXPRESSIONS.index("jawOpen")
torch.manual_seed(0)
MEANING = HeadCoefficients(ExpressionHeads())


def clip(out):
    tongue = np.zeros((COUNT, 3), np.float32)
    tongue[COUNT // 2 :] = np.array([out, 0.5 * out, 0.0])
    return MotionSequence(
        latent=np.zeros((COUNT, 16, 16), np.float32),
        rotation=np.zeros((COUNT, 3), np.float32),
        anchor=np.full((COUNT, 2), 100, np.float32),
        scale=np.full(COUNT, 50, np.float32),
        status=np.zeros(COUNT, np.uint8),
        fps=Fraction(25),
        tongue=tongue,
    )


def shown(motion, **choices):
    still = StillMotion(
        latent=np.zeros((16, 16), np.float32),
        rotation=np.zeros(3, np.float32),
        anchor=np.zeros(2, np.float32),
        scale=0.9,
    )
    return transfer(motion, still, AnimationOptions(smoothing=0.0, **choices), MEANING)


def test_a_tongue_arrives_and_parts_the_lips():
    target = shown(clip(0.8))
    assert target.tongue[-1].tolist() == pytest.approx([0.8, 0.4, 0.0])
    assert np.abs(target.tongue[0]).max() == 0
    jaw = MEANING.read(target.latent)[:, JAW]
    assert jaw[-1] - jaw[0] > 0.1


def test_without_a_tongue_nothing_else_changes():
    with_none = shown(replace(clip(0.0), tongue=None))
    assert with_none.tongue is None
    assert np.array_equal(shown(clip(0.0)).latent, with_none.latent)


def test_the_jaw_of_a_tongue_inside_stays_where_it_is():
    change = np.random.default_rng(0).normal(size=(2, 55)).astype(np.float32)
    change[:, JAW] = (-0.3, -0.3)
    out = np.array([[0.09, 0.0, 0.0], [0.9, 0.0, 0.0]], np.float32)
    own = np.zeros(55, np.float32)
    moved = let_through(change, own, out)
    assert np.array_equal(moved[0], change[0])
    assert moved[1, JAW] > 0.2
    assert np.array_equal(np.delete(moved, JAW, axis=1), np.delete(change, JAW, axis=1))
    own[JAW] = 0.3  # an open mouth opens less
    assert let_through(change, own, out)[1, JAW] == pytest.approx(moved[1, JAW] - 0.3, abs=1e-5)


def test_regions_without_the_mouth_leave_the_tongue_inside():
    assert shown(clip(0.8), regions=("eyes", "pose")).tongue is None


def test_what_a_clip_always_reads_is_rest():
    lifted = clip(0.4).tongue
    lifted[: COUNT // 2, 0] = 0.14
    shown_from_rest, shown_from_zero = (tongue_to_show(read)[-1, 0] for read in (lifted, clip(0.4).tongue))
    assert 0 < shown_from_rest < 0.7 * shown_from_zero
    always = np.full((COUNT, 3), 0.9, np.float32)
    assert tongue_to_show(always)[:, 0].min() > 0.8


def test_gain_enlarges_within_range():
    out = tongue_to_show(clip(0.5).tongue, gain=3.0)
    assert out[:, 0].max() == 1
    assert (np.abs(out[:, 1:]) <= out[:, :1]).all()


def test_smoothing_reaches_the_tongue():
    steps = [np.abs(np.diff(m.tongue[:, 0])).max() for m in (clip(0.8), smooth_sequence(clip(0.8), 1.0))]
    assert steps[1] < 0.6 * steps[0]


def test_files_keep_tongues_and_old_files_have_none(tmp_path):
    path = tmp_path / "m.safetensors"
    save_motion(path, clip(0.8))
    assert np.array_equal(load_motion(path).tongue, clip(0.8).tongue)
    save_motion(path, replace(clip(0.8), tongue=None))
    assert "tongue" not in load_file(path)
    assert load_motion(path).tongue is None


def test_a_file_with_a_broken_tongue_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    save_motion(path, clip(0.8))
    arrays = load_file(path)
    arrays["tongue"] = arrays["tongue"][:, :2].copy()
    save_file(arrays, path, {"format": "portrait_anim.motion.v1", "profile": "lite", "fps": "25"})
    with pytest.raises(InputError):
        load_motion(path)
