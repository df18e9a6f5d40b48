"""Motion of a driving clip while it is read: smoothing looks 20 frames ahead, so that many are held back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import torch

from portrait_anim.errors import NoFaceFound
from portrait_anim.face.short_range import ShortRangeDetector
from portrait_anim.face.track import TrackedFrame
from portrait_anim.models import XPortrait2MotionEncoder
from portrait_anim.pipelines.motion import STATUS, MotionSequence
from portrait_anim.pipelines.xportrait2_crops import Box, cut, grow_box, place_box, smooth_centres
from portrait_anim.pipelines.xportrait2_inputs import encode_motion
from portrait_anim.types import Float32Array, UInt8Array

REACH = 20  # frames that smoothing sees on either side
_BATCH = 8


class DrivingMotion:
    """Collects the motion of one face, frame by frame; no picture is kept.

    Args:
        encoder: Face crop to motion tokens.
        detector: Measures the box that the published crops start from.
    """

    def __init__(self, encoder: XPortrait2MotionEncoder, detector: ShortRangeDetector) -> None:
        self._encoder, self._detector, self._cropper = encoder, detector, MotionCropper()
        self._crops: list[UInt8Array] = []
        self._tokens: list[torch.Tensor] = []
        self._boxes: list[Box] = []
        self._states: list[int] = []

    @property
    def num_frames(self) -> int:
        """Frames that were taken."""
        return len(self._states)

    def add(self, tracked: TrackedFrame) -> None:
        """Take the next frame."""
        self._states.append(STATUS.index(tracked.status))
        if tracked.observation is not None:
            left, top, right, bottom = self._detector.box_of(tracked.frame.image, tracked.observation)
            # Frames before the face is first seen get the box of that frame.
            self._boxes += [(left, top, right, bottom)] * (1 if self._boxes else len(self._states))
        elif self._boxes:
            self._boxes.append(self._boxes[-1])
        if self._boxes:
            self._crops += self._cropper.add(tracked.frame.image, self._boxes[-1])
        if len(self._crops) >= _BATCH:
            self._encode()

    def finish(self, fps: Fraction) -> MotionSequence:
        """The motion of all frames; see `XPortrait2Pipeline.extract_motion`.

        Args:
            fps: Frame rate [1/s].

        Raises:
            NoFaceFound: If no frame shows a face.
        """
        self._crops += self._cropper.finish()
        self._encode()
        if not self._tokens:
            raise NoFaceFound("expected a driving clip that shows a face, found none in any frame; use another clip")
        corners = np.array(self._boxes, np.float32)
        return MotionSequence(
            latent=self._latent(),
            rotation=np.zeros((len(self._states), 3), np.float32),
            anchor=(corners[:, :2] + corners[:, 2:]) / 2,
            scale=np.maximum(corners[:, 2] - corners[:, 0], 1),
            status=np.asarray(self._states, np.uint8),
            fps=fps,
        )

    def _encode(self) -> None:
        if self._crops:
            self._tokens.append(encode_motion(self._encoder, self._crops))
            self._crops = []

    def _latent(self) -> Float32Array:
        """Tokens of every frame; those before the face is first seen move as the first one that shows it."""
        latent = torch.cat(self._tokens).float().cpu().numpy()
        return np.concatenate([latent[:1].repeat(len(self._states) - len(latent), axis=0), latent])


class MotionCropper:
    """Gives the crops that `motion_boxes` would give for the whole clip, with at most 21 frames in memory."""

    def __init__(self) -> None:
        self._waiting: deque[UInt8Array] = deque()
        self._centres: list[tuple[float, float]] = []
        self._given = 0
        self._sides = (0.0, 0.0)

    def add(self, image: UInt8Array, box: Box) -> Iterator[UInt8Array]:
        """Take the next frame.

        Args:
            image: `(H, W, 3)` uint8 sRGB.
            box: Face box in it.

        Yields:
            Crops of earlier frames that are finished now, in order.
        """
        if not self._centres:
            box = grow_box(box, (image.shape[0], image.shape[1]))
            width, height = (round(side) // 2 * 2 for side in (box[2] - box[0], box[3] - box[1]))
            self._sides = (max(width, 2), max(height, 2))
        self._centres.append(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
        self._waiting.append(image)
        if len(self._waiting) > REACH:
            yield self._give()

    def finish(self) -> Iterator[UInt8Array]:
        """Give the crops of the last frames."""
        while self._waiting:
            yield self._give()

    def _give(self) -> UInt8Array:
        image = self._waiting.popleft()
        first = max(0, self._given - REACH)
        near = np.array(self._centres[first : self._given + REACH + 1], np.float32)
        centre = smooth_centres(near)[self._given - first]
        self._given += 1
        return cut(image, place_box(centre, self._sides, (image.shape[0], image.shape[1])))
