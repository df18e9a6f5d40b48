"""A synthetic voice in plain numpy: glottal pulses and noise through formant resonators.

It says the phones of a line at their times, so that sound and mouth agree. Nobody's voice is imitated.

Shape legend: N sound samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from portrait_anim.training.synthetic.speech import SILENCE, TimedPhone
from portrait_anim.types import AudioTrack

Samples = npt.NDArray[np.float64]

# phone: (first, second, third formant [Hz], voicing 0..1, noise 0..1, noise centre [Hz])
_SOUNDS: Final[Mapping[str, tuple[float, float, float, float, float, float]]] = MappingProxyType(
    {
        "a": (730, 1150, 2450, 1.0, 0.02, 3000), "e": (530, 1840, 2480, 1.0, 0.02, 3000),
        "i": (290, 2280, 3000, 0.9, 0.02, 3500), "o": (500, 900, 2400, 1.0, 0.02, 2500),
        "u": (320, 850, 2240, 0.9, 0.02, 2500), "x": (500, 1500, 2500, 0.9, 0.02, 3000),
        "m": (250, 1100, 2200, 0.5, 0.0, 2000), "n": (260, 1600, 2600, 0.5, 0.0, 2500),
        "b": (250, 900, 2200, 0.3, 0.05, 900), "p": (300, 900, 2200, 0.0, 0.25, 1000),
        "f": (400, 1200, 2500, 0.0, 0.25, 6000), "v": (300, 1200, 2500, 0.6, 0.12, 5500),
        "s": (400, 1700, 2600, 0.0, 0.55, 6500), "z": (300, 1700, 2600, 0.5, 0.35, 6200),
        "S": (400, 1800, 2600, 0.0, 0.60, 3200), "l": (360, 1250, 2700, 0.8, 0.0, 2500),
        "r": (380, 1250, 1650, 0.8, 0.0, 2000), "t": (400, 1700, 2600, 0.0, 0.40, 5000),
        "d": (300, 1700, 2600, 0.3, 0.15, 4500), "k": (400, 1700, 2400, 0.0, 0.35, 2200),
        "g": (300, 1700, 2400, 0.3, 0.15, 2000), "h": (600, 1400, 2500, 0.0, 0.22, 1600),
        "w": (310, 750, 2200, 0.8, 0.0, 2000), "y": (280, 2200, 2900, 0.8, 0.02, 3300),
        SILENCE: (500, 1500, 2500, 0.0, 0.0, 2500),
    }
)  # fmt: skip
_BANDWIDTHS_HZ: Final = (70.0, 100.0, 150.0)
_STOPS: Final = "pbtdkg"
_BLOCK_S: Final = 0.005  # filters change this often
_LEVEL: Final = 0.5  # peak of the result


def speak(
    phones: tuple[TimedPhone, ...], *, duration_s: float, pitch_hz: float, sample_rate_hz: int = 44100, seed: int = 0
) -> AudioTrack:
    """Say a line.

    Args:
        phones: The line.
        duration_s: Length of the sound [s].
        pitch_hz: Usual pitch of the voice.
        sample_rate_hz: Samples per second.
        seed: Seed of the noise and of the pitch's unsteadiness.

    Returns:
        Mono sound, `(1, N)`.

    Raises:
        ValueError: If the line is longer than `duration_s`.
    """
    if phones and phones[-1].end_s > duration_s:
        raise ValueError(f"expected a line of at most {duration_s} s, got {phones[-1].end_s:.2f} s")
    rng = np.random.default_rng(seed)
    count = round(duration_s * sample_rate_hz)
    time_s = np.arange(count) / sample_rate_hz
    tracks = _parameter_tracks(phones, time_s)
    buzz = _glottal_source(time_s, phones, pitch_hz, rng) * tracks[3]
    noise = rng.standard_normal(count) * tracks[4]
    block = max(1, round(_BLOCK_S * sample_rate_hz))
    sound = buzz + 0.15 * noise
    for formant, bandwidth in enumerate(_BANDWIDTHS_HZ):
        sound = _resonate(sound, tracks[formant], bandwidth, block, sample_rate_hz)
    hiss = _resonate(noise, tracks[5], 1200.0, block, sample_rate_hz)
    sound = _normalised(np.diff(sound, prepend=0.0)) + 0.35 * hiss / max(float(np.abs(hiss).max()), 1e-9)
    return AudioTrack(samples=(_LEVEL * _normalised(sound))[None].astype(np.float32), sample_rate_hz=sample_rate_hz)


def _parameter_tracks(phones: tuple[TimedPhone, ...], time_s: Samples) -> Samples:
    """Formants, voicing, noise and noise centre over time, `(6, N)`, gliding between phones."""
    times, values = [0.0], [_SOUNDS[SILENCE]]
    if phones:
        times.append(max(0.0, phones[0].start_s - 0.02))
        values.append(_SOUNDS[SILENCE])
    for phone in phones:
        sound = _SOUNDS[phone.phone]
        length = phone.end_s - phone.start_s
        if phone.phone in _STOPS:  # closed, then a short burst
            times += [phone.start_s + 0.15 * length, phone.start_s + 0.6 * length, phone.start_s + 0.75 * length]
            values += [(*sound[:4], 0.0, sound[5]), (*sound[:4], 0.0, sound[5]), sound]
        else:
            times += [phone.start_s + 0.3 * length, phone.start_s + 0.7 * length]
            values += [sound, sound]
    if phones:
        times.append(phones[-1].end_s + 0.05)
        values.append(_SOUNDS[SILENCE])
    table = np.array(values).T
    return np.stack([np.interp(time_s, times, row) for row in table])


def _glottal_source(
    time_s: Samples, phones: tuple[TimedPhone, ...], pitch_hz: float, rng: np.random.Generator
) -> Samples:
    """Rosenberg-like pulses `(N,)` whose pitch falls over every phrase and wavers a little."""
    pitch = np.full_like(time_s, pitch_hz)
    for start, end in _phrases(phones):
        inside = (time_s >= start) & (time_s < end)
        along = (time_s[inside] - start) / max(end - start, 1e-6)
        pitch[inside] = pitch_hz * (1.12 - 0.27 * along + 0.05 * np.sin(2 * np.pi * 2.5 * along * (end - start)))
    steps = np.linspace(time_s[0], time_s[-1], max(2, int(time_s[-1] * 15)))
    pitch = pitch * (1 + 0.012 * np.interp(time_s, steps, rng.standard_normal(len(steps))))
    phase = np.cumsum(pitch * (time_s[1] - time_s[0])) % 1.0
    opening = 0.5 - 0.5 * np.cos(np.pi * phase / 0.4)
    closing = np.cos(np.pi * (phase - 0.4) / 0.32)
    pulse = np.where(phase < 0.4, opening, np.where(phase < 0.56, closing, 0.0))
    return np.asarray(pulse - pulse.mean(), dtype=np.float64)


def _phrases(phones: tuple[TimedPhone, ...]) -> list[tuple[float, float]]:
    """Start and end [s] of every stretch without silence."""
    out: list[tuple[float, float]] = []
    joined = False
    for phone in phones:
        if phone.phone == SILENCE:
            joined = False
        elif joined:
            out[-1] = (out[-1][0], phone.end_s)
        else:
            out.append((phone.start_s, phone.end_s))
            joined = True
    return out


def _resonate(sound: Samples, centre_hz: Samples, bandwidth_hz: float, block: int, rate_hz: int) -> Samples:
    """Two-pole resonator whose centre follows a track; its coefficients change once per block."""
    out = np.empty_like(sound)
    before, last = 0.0, 0.0
    radius = np.exp(-np.pi * bandwidth_hz / rate_hz)
    for start in range(0, len(sound), block):
        stop = min(start + block, len(sound))
        a1 = 2 * radius * np.cos(2 * np.pi * centre_hz[start] / rate_hz)
        a2 = -radius * radius
        gain = 1 - a1 - a2
        for n in range(start, stop):
            last, before = gain * sound[n] + a1 * last + a2 * before, last
            out[n] = last
    return out


def _normalised(sound: Samples) -> Samples:
    """Scaled to a peak of 1."""
    return sound / max(float(np.abs(sound).max()), 1e-9)
