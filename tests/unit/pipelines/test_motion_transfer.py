"""Transfer of motion from driver to portrait, options, motion files."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from portrait_anim.errors import InputError
from portrait_anim.models.lite.expressions import EXPRESSIONS, NUM_COEFFICIENTS, TOKEN_GROUPS, ExpressionHeads
from portrait_anim.pipelines.motion import (
    MotionSequence,
    StillMotion,
    rotation_matrix,
    scale_rotation,
    smooth,
)
from portrait_anim.pipelines.motion_file import load_motion, save_motion
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.pipelines.transfer import (
    LIVING_GAIN,
    MOST,
    OWN_EXPRESSION,
    HeadCoefficients,
    best_matching_frame,
    expression_change,
    keep_believable,
    living_gain,
    transfer,
)

PLAIN = {"smoothing": 0.0}
torch.manual_seed(0)
MEANING = HeadCoefficients(ExpressionHeads())
JAW, FROWN, GAZE = EXPRESSIONS.index("jawOpen"), EXPRESSIONS.index("browDown_L"), len(EXPRESSIONS)


def sequence(length=12, seed=0):
    rng = np.random.default_rng(seed)
    wave = np.sin(np.linspace(0, 6, length))[:, None].astype(np.float32)
    return MotionSequence(
        latent=rng.normal(size=(1, 16, 16)).astype(np.float32) * wave[:, :, None],
        rotation=wave * np.array([[0.3, 0.1, 0.05]], np.float32),
        anchor=100 + 10 * wave * np.array([[1.0, 0.5]], np.float32),
        scale=(50 + 2 * wave[:, 0]).astype(np.float32),
        status=np.zeros(length, np.uint8),
        fps=Fraction(25),
    )


def still(seed=1):
    rng = np.random.default_rng(seed)
    return StillMotion(
        latent=0.1 * rng.normal(size=(16, 16)).astype(np.float32),
        rotation=np.array([0.05, 0.0, 0.0], np.float32),
        anchor=np.array([0.0, -0.1], np.float32),
        scale=0.9,
    )


def coefficients(**values):
    out = np.zeros(NUM_COEFFICIENTS, np.float32)
    for name, value in values.items():
        out[EXPRESSIONS.index(name)] = value
    return out


def test_a_calm_matching_frame_shows_the_portrait_itself():
    motion = sequence()
    motion.latent[:] = 0.05 * motion.latent[0]  # an expression so small that it may be how this person looks
    driver, own = MEANING.read(motion.latent), MEANING.read(still().latent[None])[0]
    k = best_matching_frame(motion, driver, still(), own)
    target = transfer(motion, still(), AnimationOptions(**PLAIN), MEANING)
    np.testing.assert_allclose(target.latent[k], still().latent, atol=1e-5)
    np.testing.assert_allclose(target.rotation[k], np.eye(3), atol=1e-5)
    np.testing.assert_allclose(target.anchor[k], still().anchor, atol=1e-6)
    assert target.scale[k] == pytest.approx(1)


def test_a_frown_that_never_ends_is_not_taken_for_rest():
    driver = np.stack([coefficients(browDown_L=0.9)] * 3)
    change = expression_change(driver, driver[0], coefficients())
    assert change[0, FROWN] == pytest.approx(0.9 - OWN_EXPRESSION)


def test_what_living_faces_do_more_of_is_known_by_its_name():
    gain = living_gain()
    assert gain[JAW] == 1
    assert gain[FROWN] == pytest.approx(LIVING_GAIN["browDown"])
    assert gain[FROWN] > 1
    assert {n.removesuffix("_L") for n in EXPRESSIONS} >= set(LIVING_GAIN)  # no name that nothing has


def test_expressions_end_softly_where_faces_end():
    smile = EXPRESSIONS.index("mouthSmile_L")
    change = np.stack([coefficients(mouthSmile_L=v) for v in (0.3, 0.9, 1.2, 3.0)])
    shown = keep_believable(change, coefficients())[:, smile]
    assert shown[0] == pytest.approx(0.3)
    assert 0.7 < shown[1] < shown[2] < shown[3] <= MOST
    smiling = coefficients(mouthSmile_L=1.3)
    np.testing.assert_allclose(keep_believable(0 * change, smiling), 0, atol=1e-6)  # who beams already still beams
    assert keep_believable(-change, coefficients())[2, smile] == pytest.approx(-1.2)


def test_a_mouth_that_is_open_in_the_reference_frame_is_not_closed_beyond_rest():
    driver = np.stack([coefficients(jawOpen=v) for v in (0.0, 0.2, 0.1)])
    change = expression_change(driver, driver[1], coefficients())
    assert change[:, JAW].min() > -0.02
    assert change[1, JAW] == pytest.approx(0.2, abs=0.02)


def test_a_smile_on_a_smile_stays_a_smile_and_can_end():
    own = coefficients(jawOpen=0.8)
    driver = np.stack([coefficients(jawOpen=v) for v in (0.8, 0.0, 1.0)])
    shown = own + expression_change(driver, driver[0], own)
    np.testing.assert_allclose(shown[:, JAW], [0.8, 0.0, 1.0], atol=1e-6)
    wide = own + expression_change(np.stack([coefficients(jawOpen=1.0)]), coefficients(), own)
    assert 0.8 < wide[0, JAW] <= 1.0


def test_who_beams_at_rest_has_no_room_left():
    driver = np.stack([coefficients(mouthSmile_L=v) for v in (1.0, 1.4)])
    change = expression_change(driver, driver[0], coefficients(mouthSmile_L=1.0))
    smile = EXPRESSIONS.index("mouthSmile_L")
    assert change[0, smile] == 0
    assert 0 < change[1, smile] < 0.1


def test_eyes_that_look_aside_from_the_start_do_so_in_the_portrait():
    driver = np.zeros((2, NUM_COEFFICIENTS), np.float32)
    driver[:, GAZE] = 1.2
    assert expression_change(driver, driver[0], coefficients())[0, GAZE] > 1.0


def test_absolute_motion_copies_what_the_driver_shows():
    motion = sequence()
    target = transfer(motion, still(), AnimationOptions(motion="absolute", **PLAIN), MEANING)
    driver, own = MEANING.read(motion.latent), MEANING.read(still().latent[None])
    shown = MEANING.read(target.latent)
    np.testing.assert_allclose(shown, own + keep_believable(living_gain() * (driver - own), own[0]), atol=1e-3)
    np.testing.assert_allclose(shown[:, JAW], driver[:, JAW], atol=1e-3)
    expected = rotation_matrix(motion.rotation) @ rotation_matrix(still().rotation).T
    np.testing.assert_allclose(target.rotation, expected, atol=1e-5)


def test_lifting_a_change_is_undone_by_reading_it():
    change = np.random.default_rng(3).normal(size=(4, NUM_COEFFICIENTS)).astype(np.float32)
    change[:, [k for k, name in enumerate(EXPRESSIONS) if name.startswith("eyeLook")]] = 0
    base = MEANING.read(np.zeros((4, 16, 16), np.float32))
    np.testing.assert_allclose(MEANING.read(MEANING.lift(change)) - base, change, atol=1e-3)


@pytest.mark.parametrize(
    "change",
    [
        {"motion": "absolute"},
        {"expression_gain": 2.0},
        {"pose_gain": 0.5},
        {"regions": ("mouth",)},
        {"smoothing": 1.0},
    ],
)
def test_every_motion_option_changes_the_result(change):
    base = transfer(sequence(), still(), AnimationOptions(**PLAIN), MEANING)
    other = transfer(sequence(), still(), AnimationOptions(**{**PLAIN, **change}), MEANING)
    differs = [not np.allclose(getattr(base, n), getattr(other, n)) for n in ("latent", "rotation", "anchor", "scale")]
    assert any(differs)


def test_a_region_moves_only_its_own_tokens():
    target = transfer(sequence(), still(), AnimationOptions(regions=("eyes",), **PLAIN), MEANING)
    moved = np.abs(target.latent - still().latent).max(axis=(0, 2)) > 1e-6
    first, last = TOKEN_GROUPS["eyes"]
    assert moved[first:last].all()
    assert moved.sum() == last - first
    np.testing.assert_allclose(target.rotation, np.broadcast_to(np.eye(3), (12, 3, 3)))


@given(st.floats(-1.2, 1.2), st.floats(0, 2))
def test_pose_gain_scales_the_angle(yaw, gain):
    matrix = rotation_matrix(np.array([[yaw, 0, 0]], np.float32))
    expected = rotation_matrix(np.array([[yaw * gain, 0, 0]], np.float32))
    np.testing.assert_allclose(scale_rotation(matrix, gain), expected, atol=2e-3)


def test_smoothing_keeps_constants_and_reduces_jitter():
    values = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    assert np.abs(np.diff(smooth(values, 2.0), axis=0)).mean() < 0.5 * np.abs(np.diff(values, axis=0)).mean()
    np.testing.assert_allclose(smooth(np.ones((5, 2), np.float32), 3.0), 1, atol=1e-6)


def test_motion_file_round_trip(tmp_path):
    motion = sequence()
    save_motion(tmp_path / "m.safetensors", motion)
    again = load_motion(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.latent, motion.latent)
    assert again.fps == motion.fps


@pytest.mark.parametrize("content", [b"", b"not a file", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_damaged_motion_files_are_refused(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="motion extract"):
        load_motion(path)


def test_motion_of_another_profile_is_refused(tmp_path):
    save_motion(tmp_path / "m.safetensors", sequence(), profile="xportrait2")
    with pytest.raises(InputError, match="profile 'lite'"):
        load_motion(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    "bad",
    [
        {"motion": "sideways"},
        {"expression_gain": -1.0},
        {"pose_gain": float("nan")},
        {"num_steps": 0},
        {"size_px": 250},
        {"regions": ("ears",)},
        {"seed": -1},
    ],
)
def test_options_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="must be"):
        AnimationOptions(**bad)
