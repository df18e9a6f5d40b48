"""Attacks by encoding: real encoders in memory, there and back."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
from PIL import Image

from portrait_anim.media.colour import FrameConverter, FrameEncoder
from portrait_anim.types import UInt8Array

SOCIAL_BITS_PER_PIXEL: Final = 0.06  # about 560 kbit/s for 480p at 25 1/s
FPS: Final = Fraction(25)
# x264 takes the same decisions on every processor, and in every run; x265 keeps its log to itself.
_ALWAYS: Final = {"libx264": {"x264-params": "cpu-independent=1"}, "libx265": {"x265-params": "log-level=none"}}


def video(
    frames: Sequence[UInt8Array],
    rng: np.random.Generator,
    *,
    codec: str,
    options: Mapping[str, str],
    bits_per_pixel: float | None = None,
) -> list[UInt8Array]:
    """Encode and decode a clip.

    Args:
        frames: `(H, W, 3)` uint8 sRGB each; an odd last row or column is cut off.
        rng: Not used; attacks share one form.
        codec: Name of the encoder in PyAV.
        options: Options of the encoder.
        bits_per_pixel: Mean rate; `None` leaves the rate to the options.

    Returns:
        As many frames.
    """
    height, width = (side - side % 2 for side in frames[0].shape[:2])
    buffer = io.BytesIO()
    chosen = dict(options) | _ALWAYS.get(codec, {})
    with av.open(buffer, "w", format="matroska") as container:
        stream: Any = container.add_stream(codec, rate=FPS, options=chosen)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.thread_count = 1
        context.colorspace = context.color_primaries = context.color_trc = context.color_range = 1
        if bits_per_pixel is not None:
            context.bit_rate = int(bits_per_pixel * width * height * FPS)
        convert = FrameEncoder()
        for index, image in enumerate(frames):
            frame = convert(np.ascontiguousarray(image[:height, :width]))
            frame.pts, frame.time_base = index, 1 / FPS
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as container:
        decode = FrameConverter()
        return [decode(frame) for frame in container.decode(video=0)]


def still(image: UInt8Array, *, kind: str, quality: int) -> UInt8Array:
    """Save and open a picture.

    Args:
        image: `(H, W, 3)` uint8 sRGB.
        kind: `"JPEG"` or `"WEBP"`.
        quality: 0 to 100.

    Returns:
        What comes back.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=kind, quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def still_twice(image: UInt8Array) -> UInt8Array:
    """Save as JPEG 70, cut three rows and columns off so that blocks no longer lie on blocks, save as JPEG 50."""
    return still(still(image, kind="JPEG", quality=70)[3:, 3:], kind="JPEG", quality=50)


def palette(image: UInt8Array, *, colours: int) -> UInt8Array:
    """Reduce to some colours with dithering, as for a GIF."""
    reduced = Image.fromarray(image).quantize(colours, dither=Image.Dither.FLOYDSTEINBERG)
    return np.asarray(reduced.convert("RGB"))
