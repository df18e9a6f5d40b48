"""Hearing spoken digits in a recording, offline: pocketsphinx with its English model and a grammar of six digits.

An optional extra (`portrait-anim[voice]`). It says which digits were spoken, not who spoke them nor whether the voice
is alive: a synthetic voice says digits as well.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from portrait_anim.media.audio import read_audio
from portrait_anim.types import AudioTrack, PathLike

RATE_HZ: Final = 16_000
CODE_LENGTH: Final = 6
_WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Exactly six digits: a free number of them lets the recogniser hear breaths and clicks as further ones.
_GRAMMAR: Final = (
    f"#JSGF V1.0;\ngrammar code;\n<digit> = {' | '.join(_WORDS)};\npublic <code> = {'<digit> ' * CODE_LENGTH};\n"
)
_BEAMS: Final = {"beam": 1e-60, "wbeam": 1e-40, "pbeam": 1e-60}  # wider than usual, so that odd voices are not lost
_PAUSE: Final = bytes(2 * RATE_HZ // 5)
_LONGEST_S: Final = 90.0


def installed() -> bool:
    """Whether the speech recogniser is installed."""
    return importlib.util.find_spec("pocketsphinx") is not None


def hear_code(video: PathLike) -> str | None:
    """Hear the digits spoken in a recording.

    Args:
        video: Video or sound file.

    Returns:
        Six digits in order, those that fit best, `""` when nobody speaks; `None` when the file has no sound or nobody
        can listen.

    Raises:
        MediaError: If the file cannot be read.
    """
    if not installed():
        return None
    audio = read_audio(video, end_s=_LONGEST_S)
    return None if audio is None else hear_digits(audio)


def hear_digits(audio: AudioTrack) -> str:
    """Hear the digits spoken in a sound track.

    Args:
        audio: Sound of any rate and number of channels.

    Returns:
        The six digits that fit best what is said, whatever it is; `""` when nobody speaks.

    Raises:
        ImportError: If the speech recogniser is not installed; see `installed`.
    """
    from pocketsphinx import Decoder, Endpointer, get_model_path

    folder = Path(get_model_path()) / "en-us"
    decoder = Decoder(
        hmm=str(folder / "en-us"),
        dict=str(folder / "cmudict-en-us.dict"),
        lm=None,
        samprate=RATE_HZ,
        loglevel="FATAL",
        **_BEAMS,
    )
    decoder.add_jsgf_string("code", _GRAMMAR)
    decoder.activate_search("code")
    speech = _PAUSE.join(_stretches(_pcm(audio), Endpointer(sample_rate=RATE_HZ)))
    if not speech:
        return ""
    decoder.start_utt()
    decoder.process_raw(_PAUSE + speech + _PAUSE, full_utt=True)
    decoder.end_utt()
    best = decoder.hyp()
    return "" if best is None else "".join(str(_WORDS.index(word)) for word in best.hypstr.split() if word in _WORDS)


def _pcm(audio: AudioTrack) -> bytes:
    """Mono 16-bit samples at 16 kHz, at full level."""
    from scipy.signal import resample_poly

    mono = audio.samples.mean(axis=0)
    if audio.sample_rate_hz != RATE_HZ:
        mono = resample_poly(mono, RATE_HZ, audio.sample_rate_hz)
    peak = float(np.abs(mono).max(initial=0.0))
    if peak > 0:
        mono = mono * (0.9 / peak)
    return np.asarray(np.clip(mono, -1, 1) * 32767, dtype="<i2").tobytes()


def _stretches(pcm: bytes, endpointer: Any) -> Iterator[bytes]:
    """Stretches of speech."""
    size, speech = int(endpointer.frame_bytes), b""
    for start in range(0, len(pcm) - size, size):
        piece = endpointer.process(pcm[start : start + size])
        if piece is not None:
            speech += piece
            if not endpointer.in_speech:
                yield speech
                speech = b""
    last = endpointer.end_stream(pcm[len(pcm) - len(pcm) % size :]) if len(pcm) % size else None
    speech += last or b""
    if speech:
        yield speech
