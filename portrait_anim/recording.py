"""What the pictures of a recording show beside the face: cuts, the backdrop's motion, the pattern of a filmed screen.

Measured here, judged by `consent.recording_checks`, which never sees a picture.

A filmed screen or print has a raster of its own; seen through the raster of the camera it leaves regular peaks in the
spectrum of the face (moire), which skin does not have. Peaks vanish when the camera is far, out of focus, or when the
video is compressed hard, so that a silent spectrum proves nothing.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from portrait_anim.consent.evidence import SceneSamples
from portrait_anim.types import FaceObservation, Float64Array, Frame, UInt8Array

_SMALL_PX: Final = 160  # width at which the backdrop is followed
_FEW_CORNERS: Final = 8
_AROUND_FACE: Final = 0.35  # of the face box kept free around it: hair and shoulders move with the head
_PATCH_PX: Final = (64, 256)  # smallest and largest side of the piece of face whose spectrum is taken
_LOWEST_FREQUENCY: Final = 0.10  # cycles per pixel; below lie the features of the face
_CODEC_RASTER: Final = 8  # video codecs leave a raster of their own


class SceneWatcher:
    """Follows a recording frame by frame; keeps one small frame and a few numbers per frame."""

    def __init__(self) -> None:
        self._last: UInt8Array | None = None
        self._place = np.zeros(2)
        self._rows: list[tuple[float, float, float, float, bool]] = []
        self._patterns: list[float] = []

    def see(self, frame: Frame, face: FaceObservation | None, *, closely: bool = False) -> None:
        """Measure the next frame.

        Args:
            frame: The frame.
            face: The face in it, if one was found.
            closely: Whether to look for the pattern of a screen, which takes longer.
        """
        import cv2

        height, width = frame.image.shape[:2]
        factor = _SMALL_PX / width
        grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (_SMALL_PX, max(8, round(height * factor))), interpolation=cv2.INTER_AREA)
        change, shift = 0.0, None
        if self._last is not None and self._last.shape == small.shape:
            change = float(np.abs(small.astype(np.float32) - self._last).mean()) / 255.0
            shift = _backdrop_shift(self._last, small, None if face is None else face.box * factor)
        elif self._last is not None:
            change = 1.0  # another size of picture is a cut
        if shift is not None:
            self._place = self._place + shift / factor
        self._rows.append((frame.time_s, change, self._place[0], self._place[1], shift is not None))
        self._last = small
        if closely and face is not None:
            pattern = screen_pattern(grey, face.box)
            if pattern is not None:
                self._patterns.append(pattern)

    @property
    def pattern(self) -> float | None:
        """Typical strength of a screen's pattern over the frames seen closely, or `None` when the face is too small."""
        return float(np.median(self._patterns)) if self._patterns else None

    def samples(self) -> SceneSamples:
        """What was measured so far."""
        table = np.array(self._rows, dtype=np.float64).reshape(-1, 5)
        return SceneSamples(time_s=table[:, 0], change=table[:, 1], backdrop=table[:, 2:4], seen=table[:, 4] > 0)


def screen_pattern(grey: UInt8Array, box: Float64Array) -> float | None:
    """Measure how far the strongest regular pattern over a face stands out of its spectrum.

    Args:
        grey: Whole frame, `(H, W)` uint8.
        box: The face, `(4,)` left, top, right, bottom [px].

    Returns:
        Natural logarithm of the peak over its surroundings (skin 1.3 to 1.6, a filmed screen 2.3 to 5), or `None` when
        the face is smaller than 64 px.
    """
    import cv2

    height, width = grey.shape
    side = min(_PATCH_PX[1], int(box[2] - box[0]), height, width)
    if side < _PATCH_PX[0]:
        return None
    left = int(np.clip((box[0] + box[2] - side) / 2, 0, width - side))
    top = int(np.clip((box[1] + box[3] - side) / 2, 0, height - side))
    patch = grey[top : top + side, left : left + side].astype(np.float32)
    window = np.hanning(side).astype(np.float32)
    detail = (patch - cv2.GaussianBlur(patch, (0, 0), 2.0)) * np.outer(window, window)
    spectrum = np.log(np.abs(np.fft.fftshift(np.fft.fft2(detail))) + 1e-3).astype(np.float32)
    above = spectrum - cv2.GaussianBlur(spectrum, (0, 0), 0.03 * side)
    return float(np.sort(above[_looked_at(side)])[-2])


def _looked_at(side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Frequencies at which a pattern counts, `(side, side)` bool: not those of features, axes or codec blocks."""
    frequency = np.abs(np.fft.fftshift(np.fft.fftfreq(side)))
    raster = np.abs(frequency * _CODEC_RASTER - np.round(frequency * _CODEC_RASTER)) < 1.5 * _CODEC_RASTER / side
    mask = np.hypot(frequency[:, None], frequency[None]) >= _LOWEST_FREQUENCY
    result: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = mask & ~raster[:, None] & ~raster[None]
    return result


def _backdrop_shift(before: UInt8Array, after: UInt8Array, box: Float64Array | None) -> Float64Array | None:
    """Median motion of corners outside the face, `(2,)` [px], or `None` when there are too few."""
    import cv2

    mask = np.full(before.shape, 255, np.uint8)
    if box is not None:
        margin = _AROUND_FACE * (box[2:] - box[:2])
        left, top = np.maximum(box[:2] - margin, 0).astype(int)
        right = int(box[2] + margin[0]) + 1
        mask[top:, left:right] = 0  # down to the lower edge: neck and shoulders follow the head
    corners = cv2.goodFeaturesToTrack(before, 60, 0.03, 4, mask=mask)
    if corners is None or len(corners) < _FEW_CORNERS:
        return None
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, winSize=(11, 11), maxLevel=2)
    shifts = (moved - corners)[found.ravel() == 1].reshape(-1, 2)
    if len(shifts) < _FEW_CORNERS:
        return None
    middle: Float64Array = np.median(np.asarray(shifts, dtype=np.float64), axis=0)
    return middle
