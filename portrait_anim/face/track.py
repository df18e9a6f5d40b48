"""One face through a whole clip: streaming, steady, and honest about frames in which it is not seen."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from portrait_anim.face.crop import eye_distance, eye_midpoint
from portrait_anim.face.detect import MINIMUM_FACE_PX, FaceChoice, face_size
from portrait_anim.face.follow import FaceFollower
from portrait_anim.face.landmarks import MeasuredFace, image_size_of, landmark_box
from portrait_anim.face.smoothing import GeometrySmoother
from portrait_anim.types import FaceObservation, Float64Array, Frame

TrackStatus: TypeAlias = Literal["found", "bridged", "lost"]

_BUFFER_LIMIT_BYTES = 256 * 2**20  # of look-ahead frames; large frames get a shorter look-ahead
_JUMP = 1.0  # a face that reappears farther away than this, in box sides, starts a new segment


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackedFrame:
    """One frame with the face that is followed.

    Attributes:
        frame: The frame as it came.
        observation: The face as measured in this frame (not smoothed), interpolated when bridged, `None` when lost.
        status: `"found"`, `"bridged"` (hidden for a moment, interpolated) or `"lost"`.
        centre: Smoothed eye midpoint, `(2,)` float64 [px]; `None` when lost.
        scale: Smoothed eye distance [px], see `portrait_anim.face.eye_distance`; `None` when lost.
    """

    frame: Frame
    observation: FaceObservation | None
    status: TrackStatus
    centre: Float64Array | None = None
    scale: float | None = None


@dataclass(slots=True)
class _Pending:
    """A frame waiting for its future; `segment` numbers the uninterrupted stretches of the track."""

    frame: Frame
    face: FaceObservation | None
    segment: int


def track(
    frames: Iterable[Frame],
    *,
    choice: FaceChoice | None = None,
    lookahead_s: float = 1.0,
    minimum_px: float = MINIMUM_FACE_PX,
) -> Iterator[TrackedFrame]:
    """Follow one face through a clip.

    Memory does not grow with the clip: at most `lookahead_s` of frames (and 256 MiB of them) are held back.

    Args:
        frames: Frames in order of time; read as needed.
        choice: Which face to start with, see `portrait_anim.face.choose_face`.
        lookahead_s: How far results lag behind reading [s]; also the longest gap that is bridged and the reach of
            smoothing.
        minimum_px: Smallest shorter side of a face to start with [px].

    Yields:
        Every frame once, in order.

    Raises:
        NoFaceFound: At the end, if no frame showed a face.
        NotAHumanFace: Likewise, if only animals, drawings or patterns looked like one.
        FaceTooSmall: Likewise, if all were smaller than `minimum_px`.
        MultipleFaces: If the first faces have similar sizes and `choice` is `None`.
        ValueError: If `lookahead_s` is negative.
    """
    if lookahead_s < 0:
        raise ValueError(f"expected lookahead_s >= 0, got {lookahead_s}")
    buffer = _LookAhead(lookahead_s)
    with FaceFollower(choice=choice, minimum_px=minimum_px) as follower:
        for frame in frames:
            buffer.add(frame, follower.find(frame))
            while buffer.is_ripe():
                yield buffer.pop()
        while buffer.is_filled():
            yield buffer.pop()
        if not buffer.any_found:
            raise follower.explain_absence()


class _LookAhead:
    """Frames waiting for their future, and the measurements around them."""

    def __init__(self, lookahead_s: float) -> None:
        self._lookahead_s = lookahead_s
        self._waiting: deque[_Pending] = deque()
        self._smoothers: dict[int, GeometrySmoother] = {}
        self._newest: FaceObservation | None = None  # last face read
        self._before: tuple[FaceObservation, int] | None = None  # last face given out, and its segment
        self._segment = 0

    @property
    def any_found(self) -> bool:
        """Whether any frame so far showed the face."""
        return self._newest is not None

    def add(self, frame: Frame, face: FaceObservation | None) -> None:
        """Append the next frame with what was found in it."""
        if face is not None:
            if self._newest is not None and not self._continues(self._newest, face):
                self._segment += 1
            self._newest = face
            smoother = self._smoothers.setdefault(self._segment, GeometrySmoother(max(self._lookahead_s, 0.1)))
            smoother.add(face.time_s, eye_midpoint(face), eye_distance(face))
        self._waiting.append(_Pending(frame, face, self._segment))

    def is_filled(self) -> bool:
        """Whether frames are waiting."""
        return bool(self._waiting)

    def is_ripe(self) -> bool:
        """Whether the oldest frame has seen enough of its future, or the buffer enough memory."""
        if len(self._waiting) < 2:
            return bool(self._waiting) and self._lookahead_s == 0
        span = self._waiting[-1].frame.time_s - self._waiting[0].frame.time_s
        held = sum(item.frame.image.nbytes for item in self._waiting)
        return span >= self._lookahead_s or held > _BUFFER_LIMIT_BYTES

    def pop(self) -> TrackedFrame:
        """Give out the oldest frame."""
        item = self._waiting.popleft()
        time_s = item.frame.time_s
        if item.face is not None:
            self._before = (item.face, item.segment)
            for old in [number for number in self._smoothers if number < item.segment]:
                del self._smoothers[old]
            smoother = self._smoothers[item.segment]
            smoother.forget_before(time_s)
            centre, scale = smoother.at(time_s)
            return TrackedFrame(frame=item.frame, observation=item.face, status="found", centre=centre, scale=scale)
        after = next((later for later in self._waiting if later.face is not None), None)
        if self._before is None or after is None or after.face is None or after.segment != self._before[1]:
            return TrackedFrame(frame=item.frame, observation=None, status="lost")
        bridged = interpolate(self._before[0], after.face, time_s)
        centre, scale = self._smoothers[after.segment].at(time_s)
        return TrackedFrame(frame=item.frame, observation=bridged, status="bridged", centre=centre, scale=scale)

    def _continues(self, before: FaceObservation, after: FaceObservation) -> bool:
        """Whether two successive sightings belong together: a short gap, and no jump as at a cut."""
        if after.time_s - before.time_s > max(self._lookahead_s, 0.1):
            return False
        moved = np.linalg.norm(after.box[:2] + after.box[2:] - before.box[:2] - before.box[2:]) / 2
        return bool(moved <= _JUMP * max(face_size(before), face_size(after)))


def interpolate(before: FaceObservation, after: FaceObservation, time_s: float) -> FaceObservation:
    """The face between two sightings, moving in a straight line.

    Args:
        before: Sighting at or before `time_s`.
        after: Sighting at or after `time_s`.
        time_s: Time in between [s].

    Returns:
        Interpolated landmarks and depth; the score falls to half of the lower one.
    """
    span = after.time_s - before.time_s
    part = float(np.clip((time_s - before.time_s) / span, 0, 1)) if span > 0 else 0.0
    landmarks = (1 - part) * before.landmarks + part * after.landmarks
    depth = None
    if before.depth is not None and after.depth is not None:
        depth = (1 - part) * before.depth + part * after.depth
    score = 0.5 * min(before.score, after.score)
    box = landmark_box(landmarks[:468])
    size = image_size_of(before)
    if size is None:
        return FaceObservation(box=box, landmarks=landmarks, score=score, time_s=time_s, depth=depth)
    return MeasuredFace(box=box, landmarks=landmarks, score=score, time_s=time_s, depth=depth, image_size=size)
