"""The `xportrait2` profile from published files to a signed video, with tiny networks of the real classes."""

import json
import shutil
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from portrait_anim import studio, weights
from portrait_anim.cli import app
from portrait_anim.consent.grants import grant
from portrait_anim.consent.store import open_store
from portrait_anim.enrolment import enroll_fictional_from_file
from portrait_anim.errors import ConsentDenied, InputError, ProfileUnavailable, WeightsMissing
from portrait_anim.media.reader import VideoReader, probe
from portrait_anim.models.xportrait2.convert import convert
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.scenes.renderer import check_scene

SMALL = AnimationOptions(size_px=128, num_steps=1)


@pytest.fixture
def user_weights(tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    monkeypatch.setattr(weights, "user_weights_dir", lambda: folder)
    return folder


@pytest.fixture
def cameo(tmp_path):
    now = datetime.now(timezone.utc)
    with open_store(tmp_path / "home") as store:
        portrait = weights.samples_dir() / "portrait.jpg"
        cameo = enroll_fictional_from_file(store, portrait=portrait, name="A", statement="Does not exist.", now=now)
        grant(
            store, cameo.id, grantee="operator", purpose="test", allowed_contexts=["animate"],
            expires=now + timedelta(hours=1), max_renders=5, max_seconds=60.0, now=now,
        )  # fmt: skip
        return cameo.id


def test_without_weights_it_says_how_to_get_them(user_weights):
    with pytest.raises(WeightsMissing, match="weights fetch"):
        studio.load_pipeline("xportrait2")


def test_the_profile_brings_its_own_steps_and_size():
    options = studio.default_options("xportrait2")
    assert (options.num_steps, options.size_px) == (35, 512)
    assert studio.default_options("lite") == AnimationOptions()
    with pytest.raises(ProfileUnavailable):
        studio.default_options("xportrait3")


def test_devices_that_are_not_there_are_refused_before_weights_are_read():
    for choice, message in (
        ({"device": "gpu"}, "such as cpu or cuda"),
        ({"second_device": "nowhere:1"}, "cannot use 'nowhere:1'"),
        ({"second_device": "cpu", "offload": True}, "CPU offload"),
        ({"profile": "lite", "second_device": "cpu"}, "lite"),
        ({"profile": "lite", "precision": "float16"}, "float32 with the profile 'lite'"),
    ):
        with pytest.raises(InputError, match=message):
            studio.load_pipeline(**{"profile": "xportrait2", **choice})


def test_scenes_refuse_the_profile(tmp_path):
    with pytest.raises(ProfileUnavailable, match="lite"):
        check_scene(
            weights.samples_dir() / "scene.yaml", home=tmp_path / "home", profile="xportrait2",
            cast={"anna": "cam_1", "ben": "cam_2"},
        )  # fmt: skip


def test_converted_weights_render_a_signed_video_with_sound_and_full_frame(
    user_weights, tiny_downloads, tiny_modules, tmp_path, cameo
):
    user_weights.mkdir()
    convert(tiny_downloads, user_weights, modules=tiny_modules)
    assert weights.locate("xportrait2") == user_weights
    half = studio.load_pipeline("xportrait2", precision="bfloat16")
    assert {half.denoising_unet.dtype, half.vae.dtype, half.motion_encoder.dtype} == {torch.bfloat16}
    pipeline = studio.load_pipeline("xportrait2")
    assert pipeline.denoising_unet.dtype == torch.float32
    samples = weights.samples_dir()
    seen, previews = [], {}

    def on_progress(progress):
        seen.append(progress.stage)
        if progress.preview is not None:
            previews.setdefault(progress.stage, progress.preview)

    arguments = {
        "cameo": cameo, "home": tmp_path / "home", "options": SMALL, "profile": "xportrait2", "pipeline": pipeline,
        "end_s": 0.2,
    }  # fmt: skip
    with pytest.raises(ConsentDenied):
        studio.animate(
            samples / "portrait.jpg", samples / "driving.mp4", output=tmp_path / "no.mp4", purpose="other", **arguments
        )
    result = studio.animate(
        samples / "portrait.jpg", samples / "driving.mp4", output=tmp_path / "out.mp4", purpose="test",
        on_progress=on_progress, **arguments,
    )  # fmt: skip
    assert result.verification.ok
    assert {"motion", "denoise", "animate", "sign", "done"} <= set(seen)
    assert previews["denoise"].shape == previews["animate"].shape == (128, 128, 3)
    info, driver = probe(result.path), probe(samples / "driving.mp4")
    assert info.fps == driver.fps
    assert info.has_audio == driver.has_audio
    with VideoReader(result.path) as reader:
        frames = [frame.image for frame in reader]
    assert len(frames) == result.num_frames
    assert np.std(frames[0]) > 10


@pytest.mark.slow
def test_a_report_can_be_made_of_the_profile_too(user_weights, tiny_downloads, tiny_modules, tmp_path):
    user_weights.mkdir()
    convert(tiny_downloads, user_weights, modules=tiny_modules)
    for folder, sample in (("portraits", "portrait.jpg"), ("clips", "driving.mp4")):
        (tmp_path / folder).mkdir()
        shutil.copy(weights.samples_dir() / sample, tmp_path / folder)
    result = CliRunner().invoke(
        app, ["evaluate", "--portraits", str(tmp_path / "portraits"), "--clips", str(tmp_path / "clips"), "--out",
              str(tmp_path / "out"), "--home", str(tmp_path / "home2"), "--seconds", "0.2", "--size", "128", "--steps",
              "1", "--profile", "xportrait2", "--json"],
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    (pair,) = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["pairs"]
    assert pair["status"] == "measured"
    assert pair["num_frames"] >= 4
