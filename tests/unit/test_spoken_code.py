from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from portrait_anim import spoken_code
from portrait_anim.consent.recording_checks import code_was_said
from portrait_anim.media.audio import read_audio
from portrait_anim.types import AudioTrack
from portrait_anim.weights import samples_dir

needs_ears = pytest.mark.skipif(not spoken_code.installed(), reason="pocketsphinx (extra voice) is not installed")
needs_a_voice = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def say(code: str, folder: Path, voice: str, noise: float = 0.002) -> AudioTrack:
    """A code spoken by a robot, with half a second of room before and after."""
    path = folder / "code.wav"
    text = ", ".join(WORDS[int(digit)] for digit in code)
    subprocess.run(["espeak-ng", "-v", voice, "-s", "120", "-w", str(path), text], check=True)
    audio = read_audio(path)
    assert audio is not None
    room = np.zeros((1, audio.sample_rate_hz // 2))
    samples = np.concatenate([room, audio.samples.mean(axis=0, keepdims=True), room], axis=1)
    samples += np.random.default_rng(0).normal(size=samples.shape) * noise
    return AudioTrack(samples=samples.astype(np.float32), sample_rate_hz=audio.sample_rate_hz)


def test_a_video_without_sound_says_nothing() -> None:
    assert spoken_code.hear_code(samples_dir() / "challenge.mp4") is None


@needs_ears
def test_silence_is_no_code() -> None:
    assert spoken_code.hear_digits(AudioTrack(samples=np.zeros((2, 48_000), np.float32), sample_rate_hz=48_000)) == ""


def test_without_the_recogniser_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert spoken_code.hear_code(samples_dir() / "driving.mp4") is None


@needs_ears
@needs_a_voice
@pytest.mark.slow
def test_spoken_codes_are_heard_and_others_are_not(tmp_path: Path) -> None:
    spoken = {"690743": "en-us", "150008": "en-gb", "636083": "en-us+f3", "480217": "en-us+m3", "291417": "en-us"}
    heard = {code: spoken_code.hear_digits(say(code, tmp_path, voice)) for code, voice in spoken.items()}
    right = sum(code_was_said(code, digits) for code, digits in heard.items())
    assert right >= 4, heard
    assert not any(code_was_said(code, digits) for code in spoken for other, digits in heard.items() if code != other)
