"""Between decoded video frames and upright sRGB arrays: colour matrix, range, rotation, pixel shape."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, TypeAlias

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from portrait_anim.types import UInt8Array

DisplayMatrix: TypeAlias = tuple[int, int, int, int]

# swscale: bicubic | full chroma interpolation, accurate rounding, same result on every processor.
_SCALING = 0x4 | 0x2000 | 0x4000 | 0x40000 | 0x80000
_BT601, _BT709, _BT2020 = 5, 1, 9
_LIMITED, _FULL = 1, 2
# ffmpeg's AVColorSpace -> swscale's table of coefficients.
_MATRIX = {1: _BT709, 4: 4, 5: _BT601, 6: _BT601, 7: 7, 9: _BT2020, 10: _BT2020}
_HD_HEIGHT_PX = 720


class FrameConverter:
    """Turns decoded frames into upright `(H, W, 3)` uint8 sRGB arrays.

    Args:
        pixel_ratio: Width of one stored pixel divided by its height.
    """

    def __init__(self, pixel_ratio: Fraction | None = None) -> None:
        self._pixel_ratio = pixel_ratio
        self._reformatter = VideoReformatter()
        self._matrix: DisplayMatrix | None = None

    def __call__(self, frame: Any) -> UInt8Array:
        """Convert one frame.

        Args:
            frame: A decoded `av.VideoFrame` of any pixel format.

        Returns:
            `(H, W, 3)` uint8 sRGB, rotated as the file asks and with square pixels, C-contiguous.
        """
        if self._matrix is None:
            # Once per file: in PyAV, side data and frame hold each other, so that asking every frame would keep
            # hundreds of them alive until the garbage collector comes.
            self._matrix = display_matrix(frame)
        options: dict[str, Any] = {"format": "rgb24", "interpolation": _SCALING}
        if not frame.format.is_rgb:
            matrix = _matrix(frame)
            options |= {
                "src_colorspace": matrix,
                "dst_colorspace": matrix,
                "src_color_range": _range(frame),
                "dst_color_range": _FULL,
            }
        width = square_width(frame.width, self._pixel_ratio)
        image: Any = self._reformatter.reformat(frame, width=width, **options).to_ndarray()
        return np.ascontiguousarray(upright(image, self._matrix))


class FrameEncoder:
    """Turns `(H, W, 3)` uint8 sRGB arrays into BT.709 limited-range yuv420p frames."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, image: UInt8Array) -> Any:
        """Convert one image.

        Args:
            image: `(H, W, 3)` uint8 sRGB, both sides even.

        Returns:
            An `av.VideoFrame`.
        """
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24"),
            format="yuv420p",
            interpolation=_SCALING,
            dst_colorspace=_BT709,
            src_color_range=_FULL,
            dst_color_range=_LIMITED,
        )
        frame.colorspace = _BT709
        frame.color_range = _LIMITED
        return frame


def _matrix(frame: Any) -> int:
    # Files that do not say are BT.601 when small and BT.709 when HD, as players have it.
    default = _BT709 if frame.height >= _HD_HEIGHT_PX else _BT601
    return _MATRIX.get(int(frame.colorspace), default)


def _range(frame: Any) -> int:
    is_full = int(frame.color_range) == _FULL or frame.format.name.startswith("yuvj")
    return _FULL if is_full else _LIMITED


def square_width(width: int, pixel_ratio: Fraction | None) -> int:
    """Give the width a stored frame has when its pixels are made square.

    Args:
        width: Stored width [px].
        pixel_ratio: Width of one stored pixel divided by its height, `None` or 0 when unknown.

    Returns:
        Width before rotation [px].
    """
    if not pixel_ratio or not 0.1 < pixel_ratio < 10:
        return width
    return max(1, round(width * pixel_ratio))


def display_matrix(frame: Any) -> DisplayMatrix:
    """Read how a file asks for its frames to be shown.

    Args:
        frame: A decoded `av.VideoFrame`.

    Returns:
        `a, b, c, d` of x' = a x + c y and y' = b x + d y, in any unit.
    """
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return 1, 0, 0, 1
    values = np.frombuffer(bytes(side_data), dtype=np.int32, count=9)
    return int(values[0]), int(values[1]), int(values[3]), int(values[4])


def upright(image: UInt8Array, matrix: DisplayMatrix) -> UInt8Array:
    """Rotate and mirror an image as a display matrix asks, to the nearest quarter turn.

    Args:
        image: `(H, W, 3)` uint8, as stored.
        matrix: From `display_matrix`.

    Returns:
        `(H, W, 3)` or `(W, H, 3)` uint8, a view.
    """
    a, b, c, d = matrix
    if abs(b) > abs(a):
        image, flip_x, flip_y = image.transpose(1, 0, 2), c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    return image[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


def rotation(matrix: DisplayMatrix) -> int:
    """Give the clockwise rotation that shows a frame upright.

    Args:
        matrix: From `display_matrix`.

    Returns:
        0, 90, 180 or 270 degrees.
    """
    a, b, _, _ = matrix
    return round(float(np.degrees(np.arctan2(b, a))) / 90) * 90 % 360
