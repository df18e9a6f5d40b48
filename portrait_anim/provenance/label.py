"""The visible label: "AI-generated", in words and as a badge, wandering through the frame.

How it looks is in `label_pill`, where it goes in `label_path`: no crop to 60 % of the area removes it from four
seconds, none to 25 % from a clip of 7.2 s, and no face is covered for more than a moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from portrait_anim.provenance.label_path import Box, LabelPath
from portrait_anim.provenance.label_pill import SIZES, WORDINGS, LabelSize, Language, Wording, draw_pill
from portrait_anim.types import UInt8Array

__all__ = ["DEFAULT_TEXT", "Labeller", "face_zones"]

DEFAULT_TEXT: Final = WORDINGS["en"].text

# MediaPipe's mesh: both eyes with the irises, and the outer lips.
_EYES: Final = (33, 133, 159, 145, 263, 362, 386, 374)
_MOUTH: Final = (61, 291, 0, 17, 78, 308, 13, 14)
_SURFACE: Final = 468  # points before those of the irises
_MOVEMENT_SHARE: Final = 0.10  # of the face's height, how far the features move in a render


class Labeller:
    """Draws the visible label into frames of one size.

    Args:
        size: Width and height of the frames [px].
        text: What it says in words; `None` is the sentence of the language.
        language: Language of sentence and badge.
        label_size: How large it is, as the grant asks.
        keep_clear: Zones of the frame that it only passes quickly, see `face_zones`.

    Attributes:
        size: Width and height of the frames [px].
        pill_size: Width and height of the label [px].

    Raises:
        ValueError: If the size is not positive, the text is empty, or language or size are unknown.
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        text: str | None = None,
        language: Language = "en",
        label_size: LabelSize = "small",
        keep_clear: Sequence[Box] = (),
    ) -> None:
        width, height = size
        if width < 1 or height < 1:
            raise ValueError(f"expected a frame size of at least 1x1 pixels, got {width}x{height}")
        if text is not None and not text.strip():
            raise ValueError("expected a text for the visible label, got an empty one")
        if language not in WORDINGS:
            raise ValueError(f"expected a language among {', '.join(WORDINGS)}, got {language!r}")
        if label_size not in SIZES:
            raise ValueError(f"expected a label size among {', '.join(SIZES)}, got {label_size!r}")
        wording = WORDINGS[language]
        self.size = (width, height)
        pill = draw_pill(self.size, Wording(letters=wording.letters, text=text or wording.text), label_size)
        self.pill_size = (pill.shape[1], pill.shape[0])
        self._path = LabelPath(self.size, self.pill_size, keep_clear)
        alpha = pill[..., 3:].astype(np.uint16)
        self._keep: npt.NDArray[np.uint16] = np.subtract(255, alpha, dtype=np.uint16)  # (h, w, 1)
        self._add: npt.NDArray[np.uint16] = np.multiply(pill[..., :3], alpha, dtype=np.uint16)
        self._add += 127  # (h, w, 3); rounds the division below

    def box(self, time_s: float) -> tuple[int, int, int, int]:
        """Where the label is.

        Args:
            time_s: Time from the start of the clip [s].

        Returns:
            Left, top, right and bottom [px], inside the frame.
        """
        return self._path.box(time_s)

    def draw(self, frame: UInt8Array, time_s: float) -> UInt8Array:
        """Put the label on a frame.

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


def face_zones(landmarks: npt.NDArray[np.float64], matrix: npt.NDArray[np.float64] | None = None) -> tuple[Box, Box]:
    """The zones of a frame that the label must not stay on: eyes and mouth, with room for their movement.

    Args:
        landmarks: `(478, 2)` float64, the face as found in the portrait [px].
        matrix: `(2, 3)` float64, portrait pixels to frame pixels; `None` when the frame is the portrait.

    Returns:
        Zone of the eyes and zone of the mouth [px of the frame].
    """
    points = np.asarray(landmarks, np.float64)
    if matrix is not None:
        points = points @ matrix[:, :2].T + matrix[:, 2]
    room_px = _MOVEMENT_SHARE * float(np.ptp(points[:_SURFACE, 1]))
    return _zone(points[list(_EYES)], room_px), _zone(points[list(_MOUTH)], room_px)


def _zone(points: npt.NDArray[np.float64], room_px: float) -> Box:
    (left, top), (right, bottom) = points.min(axis=0) - room_px, points.max(axis=0) + room_px
    return float(left), float(top), float(right), float(bottom)
