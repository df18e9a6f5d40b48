"""The visible mark: a small pill with "AI-generated" that wanders through the frame.

A mark that stays in one place is gone after one crop. This one drifts along the bottom and the top edge,
where it hides little, and crosses the frame in about a second in between. So no crop to 60 % of the
area removes it from four seconds, none to 25 % from a clip of 7.2 s, and no face is covered for more than a moment.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from portrait_anim.types import UInt8Array

DEFAULT_TEXT: Final = "AI-generated"

_EDGE_S: Final = 2.4  # along one edge
_CROSSING_S: Final = 1.2  # from one corner to the opposite one
_CYCLE_S: Final = 2 * (_EDGE_S + _CROSSING_S)
_TEXT_SHARE: Final = 0.045  # text height per shorter frame side
_SMALLEST_TEXT_PX: Final = 11.0
_WIDEST_SHARE: Final = 0.62  # pill width per frame width
_MARGIN_SHARE: Final = 0.025
_SUPERSAMPLING: Final = 4
_PILL_ALPHA: Final = 0.66
_RIM_ALPHA: Final = 0.75


class Labeller:
    """Draws the visible mark into frames of one size.

    Args:
        size: Width and height of the frames [px].
        text: What the mark says.

    Attributes:
        size: Width and height of the frames [px].
        pill_size: Width and height of the mark [px].

    Raises:
        ValueError: If the size is not positive, or the text is empty.
    """

    def __init__(self, size: tuple[int, int], *, text: str = DEFAULT_TEXT) -> None:
        width, height = size
        if width < 1 or height < 1:
            raise ValueError(f"expected a frame size of at least 1x1 pixels, got {width}x{height}")
        if not text.strip():
            raise ValueError("expected a text for the visible label, got an empty one")
        self.size = (width, height)
        pill = _draw_pill(width, height, text)
        self.pill_size = (pill.shape[1], pill.shape[0])
        alpha = pill[..., 3:].astype(np.uint16)
        self._keep: npt.NDArray[np.uint16] = np.subtract(255, alpha, dtype=np.uint16)  # (h, w, 1)
        self._add: npt.NDArray[np.uint16] = np.multiply(pill[..., :3], alpha, dtype=np.uint16)
        self._add += 127  # (h, w, 3); rounds the division below

    def box(self, time_s: float) -> tuple[int, int, int, int]:
        """Where the mark is.

        Args:
            time_s: Time from the start of the clip [s].

        Returns:
            Left, top, right and bottom [px], inside the frame.
        """
        across, down = _position(time_s)
        width, height = self.size
        pill_width, pill_height = self.pill_size
        margin = round(_MARGIN_SHARE * min(width, height))
        left = _place(across, width - pill_width, margin)
        top = _place(down, height - pill_height, margin)
        return left, top, left + pill_width, top + pill_height

    def draw(self, frame: UInt8Array, time_s: float) -> UInt8Array:
        """Put the mark on a frame.

        Args:
            frame: `(H, W, 3)` uint8 sRGB of the size given to the constructor; not modified.
            time_s: Time of the frame from the start of the clip [s].

        Returns:
            New frame, `(H, W, 3)` uint8 sRGB; equal to `frame` outside `box(time_s)`.

        Raises:
            ValueError: If the frame has another shape.
        """
        width, height = self.size
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            raise ValueError(f"expected a uint8 frame of shape {(height, width, 3)}, got {frame.dtype} {frame.shape}")
        left, top, right, bottom = self.box(time_s)
        marked = np.ascontiguousarray(frame).copy()
        region = marked[top:bottom, left:right]
        region[...] = (region * self._keep + self._add) // 255
        return marked


def _position(time_s: float) -> tuple[float, float]:
    """Place of the mark on its figure-of-eight: 0 to 1 across, 0 to 1 down.

    The clip begins in the middle of the bottom edge; then bottom right, top left, top right, bottom left.
    """
    phase = (time_s + _EDGE_S / 2) % _CYCLE_S
    half, phase = divmod(phase, _EDGE_S + _CROSSING_S)
    if phase < _EDGE_S:
        return phase / _EDGE_S, 1.0 - half
    vertical = (1 - math.cos(math.pi * (phase - _EDGE_S) / _CROSSING_S)) / 2
    sideways = vertical * vertical * (3 - 2 * vertical)  # later, so that the mark passes the sides too
    return 1 - sideways, half + (1 - 2 * half) * (1 - vertical)


def _place(share: float, room: int, margin: int) -> int:
    """Pixel offset for a share of the free room, keeping a margin where there is one."""
    margin = min(margin, room // 2)
    return margin + round(share * (room - 2 * margin))


def _draw_pill(width: int, height: int, text: str) -> UInt8Array:
    """The mark as `(h, w, 4)` uint8 RGBA, no larger than the frame: white text on a dark pill, light rim."""
    text_px = max(_SMALLEST_TEXT_PX, _TEXT_SHARE * min(width, height))
    font = ImageFont.load_default(text_px * _SUPERSAMPLING)
    left, top, right, bottom = font.getbbox(text)
    pad = 0.55 * text_px * _SUPERSAMPLING
    full_width, full_height = right - left + 2.4 * pad, bottom - top + 1.5 * pad
    canvas = Image.new("RGBA", (math.ceil(full_width), math.ceil(full_height)), (0, 0, 0, 0))
    rim = max(1, round(0.07 * text_px * _SUPERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    draw.rounded_rectangle(
        (0, 0, canvas.width - 1, canvas.height - 1),
        radius=canvas.height / 2,
        fill=(0, 0, 0, round(255 * _PILL_ALPHA)),
        outline=(255, 255, 255, round(255 * _RIM_ALPHA)),
        width=rim,
    )
    draw.text((1.2 * pad - left, 0.75 * pad - top), text, font=font, fill=(255, 255, 255, 255))
    scale = min(
        1 / _SUPERSAMPLING,
        max(1.0, _WIDEST_SHARE * width) / canvas.width,
        max(1.0, height / 3) / canvas.height,
    )
    target = (max(1, round(canvas.width * scale)), max(1, round(canvas.height * scale)))
    # Reduced with premultiplied colour, or the rim would get a dark fringe.
    return np.asarray(canvas.convert("RGBa").resize(target, Image.Resampling.BOX).convert("RGBA"))
