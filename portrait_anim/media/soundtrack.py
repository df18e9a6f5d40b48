"""Encode sound beside a video, just as far as the picture has got."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from portrait_anim.media.audio import AudioReader
from portrait_anim.types import AudioTrack, Float32Array

_AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_DEFAULT_RATE_HZ = 48000
_BIT_RATE_PER_CHANNEL = 96_000
_BITEXACT = 1 << 23  # AV_CODEC_FLAG_BITEXACT: no version of ffmpeg in the stream
_LAYOUTS = {1: "mono", 2: "stereo"}


class SoundEncoder:
    """The AAC stream of a container that is being written.

    Args:
        container: An output container, not yet started.
        audio: Where the sound comes from; read bit by bit.

    Raises:
        ValueError: If the sound has neither one nor two channels.
    """

    def __init__(self, container: Any, audio: AudioTrack | AudioReader) -> None:
        channels = audio.samples.shape[0] if isinstance(audio, AudioTrack) else audio.channels
        if channels not in _LAYOUTS:
            raise ValueError(f"Expected sound with 1 or 2 channels, got {channels}. Mix it down first.")
        self._container = container
        self._layout = _LAYOUTS[channels]
        self._rate_hz = audio.sample_rate_hz if audio.sample_rate_hz in _AAC_RATES_HZ else _DEFAULT_RATE_HZ
        self._stream = container.add_stream("aac", rate=self._rate_hz)
        self._stream.codec_context.layout = self._layout
        self._stream.codec_context.bit_rate = _BIT_RATE_PER_CHANNEL * channels
        self._stream.codec_context.flags |= _BITEXACT
        self._blocks = self._converted(audio)
        self._pending = np.zeros((channels, 0), dtype=np.float32)
        self._written = 0

    def write_until(self, end_s: Fraction) -> None:
        """Encode the sound up to a time; what has been encoded already is not repeated.

        Args:
            end_s: End of the picture so far [s].
        """
        wanted = int(end_s * self._rate_hz) - self._written
        while wanted > 0:
            if self._pending.shape[1] == 0:
                block = next(self._blocks, None)
                if block is None:
                    return
                self._pending = block
            samples, self._pending = self._pending[:, :wanted], self._pending[:, wanted:]
            wanted -= samples.shape[1]
            self._encode(samples)

    def finish(self) -> None:
        """Write out what the encoder still holds."""
        if self._written:
            self._container.mux(self._stream.encode(None))

    def _encode(self, samples: Float32Array) -> None:
        frame = _frame(samples, self._layout, self._rate_hz)
        frame.pts = self._written
        frame.time_base = Fraction(1, self._rate_hz)
        self._written += samples.shape[1]
        self._container.mux(self._stream.encode(frame))

    def _converted(self, audio: AudioTrack | AudioReader) -> Iterator[Float32Array]:
        """Give the sound in blocks at a sample rate that AAC knows."""
        if audio.sample_rate_hz == self._rate_hz:
            yield from _blocks(audio)
            return
        resampler = av.AudioResampler(format="fltp", layout=self._layout, rate=self._rate_hz)
        position = 0
        for samples in _blocks(audio):
            frame = _frame(samples, self._layout, audio.sample_rate_hz)
            frame.pts, frame.time_base = position, Fraction(1, audio.sample_rate_hz)
            position += samples.shape[1]
            yield from (block.to_ndarray() for block in resampler.resample(frame))
        if position:
            yield from (block.to_ndarray() for block in resampler.resample(None))


def _blocks(audio: AudioTrack | AudioReader) -> Iterator[Float32Array]:
    if isinstance(audio, AudioReader):
        yield from audio
        return
    for start in range(0, audio.samples.shape[1], audio.sample_rate_hz):
        yield audio.samples[:, start : start + audio.sample_rate_hz]


def _frame(samples: Float32Array, layout: str, rate_hz: int) -> Any:
    clipped = np.ascontiguousarray(np.clip(np.nan_to_num(samples), -1, 1), dtype=np.float32)
    frame = av.AudioFrame.from_ndarray(clipped, format="fltp", layout=layout)
    frame.sample_rate = rate_hz
    return frame
