from itertools import pairwise

import numpy as np
import pytest
import torch

from portrait_anim.errors import InputError
from portrait_anim.training.synthetic.motion import MotionStatistics
from portrait_anim.training.synthetic.speech import PHONES, mouth_curves, time_phones
from portrait_anim.training.synthetic.voice import speak


@pytest.fixture(scope="module")
def statistics(expression_names: tuple[str, ...]) -> MotionStatistics:
    return MotionStatistics(expression_names, torch.device("cpu"))


def test_phones_follow_each_other_without_gaps() -> None:
    line = time_phones("helo: am", start_s=0.5)
    assert line[0].start_s == 0.5
    assert all(a.end_s == b.start_s for a, b in pairwise(line))
    long_o = line[3]
    assert long_o.end_s - long_o.start_s == pytest.approx(2 * PHONES["o"][2])
    assert time_phones("helo", tempo=2.0)[-1].end_s == pytest.approx(time_phones("helo")[-1].end_s / 2)


def test_a_sign_that_is_no_phone_is_refused() -> None:
    with pytest.raises(InputError, match="'q'"):
        time_phones("heqo")


def test_the_jaw_opens_on_vowels_and_the_lips_close_on_m(statistics: MotionStatistics) -> None:
    line = time_phones("_mama_")
    time_s = torch.arange(60) / 60
    curves = mouth_curves(statistics, line, time_s)
    jaw = curves[:, statistics.names.index("jawOpen")]
    press = curves[:, statistics.names.index("mouthPress_L")]
    for phone in line:
        frame = int((phone.start_s + phone.end_s) / 2 * 60)
        if phone.phone == "a":
            assert jaw[frame] > 0.25
        if phone.phone == "m":
            assert press[frame] > 0.2
            assert jaw[frame] < 0.25
    assert jaw[-1] < 0.02
    assert jaw.diff().abs().max() < 0.2


def test_every_phone_can_be_said() -> None:
    line = time_phones("".join(PHONES))
    track = speak(line, duration_s=line[-1].end_s + 0.1, pitch_hz=120, sample_rate_hz=16000)
    assert track.samples.dtype == np.float32
    assert np.isfinite(track.samples).all()
    assert np.abs(track.samples).max() <= 0.5 + 1e-6


def test_vowels_are_loud_and_pauses_are_silent() -> None:
    line = time_phones("a:___a:", start_s=0.2)
    track = speak(line, duration_s=1.6, pitch_hz=120, sample_rate_hz=16000)
    assert track.duration_s == pytest.approx(1.6)

    def level(start_s: float, end_s: float) -> float:
        part = track.samples[0, round(start_s * 16000) : round(end_s * 16000)]
        return float(np.sqrt((part**2).mean()))

    assert level(0.25, 0.45) > 10 * level(0.60, 0.70)
    assert level(0.0, 0.1) < 1e-3


def test_the_voice_has_the_pitch_asked_for() -> None:
    track = speak(time_phones("a::", start_s=0.0), duration_s=0.9, pitch_hz=150, sample_rate_hz=16000)
    part = track.samples[0, 3000:7000].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 65536)) ** 2
    period = np.argmax(np.fft.irfft(spectrum)[64:200]) + 64
    assert 16000 / period == pytest.approx(150, rel=0.2)


def test_speech_is_deterministic_and_fits_its_time() -> None:
    line = time_phones("sam")
    first, second = (speak(line, duration_s=0.6, pitch_hz=120, sample_rate_hz=8000, seed=1) for _ in range(2))
    assert np.array_equal(first.samples, second.samples)
    with pytest.raises(ValueError, match="at most"):
        speak(line, duration_s=0.1, pitch_hz=120)
