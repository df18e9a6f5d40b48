"""How the videos of the attack suite are made: from the sample challenge, from a photo, from a filmed screen."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from portrait_anim.media.reader import VideoReader
from portrait_anim.media.writer import VideoWriter
from portrait_anim.types import AudioTrack, UInt8Array

SIDE_PX = 320
FPS = Fraction(15)


def frames_of(path: Path, side_px: int = SIDE_PX) -> list[UInt8Array]:
    """All frames of a video, scaled to a square."""
    with VideoReader(path) as reader:
        return [
            frame.image
            if frame.image.shape[:2] == (side_px, side_px)
            else cv2.resize(frame.image, (side_px, side_px), interpolation=cv2.INTER_AREA)
            for frame in reader
        ]


def film(
    path: Path,
    frames: Sequence[UInt8Array],
    *,
    fps: Fraction = FPS,
    crf: int = 18,
    audio: AudioTrack | None = None,
) -> Path:
    """Write frames as a video."""
    height, width = frames[0].shape[:2]
    with VideoWriter(path, fps=fps, size=(width, height), crf=crf, audio=audio) as video:
        for frame in frames:
            video.write(frame)
    return path


def noisy(frames: Sequence[UInt8Array], seed: int = 0) -> list[UInt8Array]:
    """Frames with the noise of a camera."""
    random = np.random.default_rng(seed)
    return [np.clip(frame + random.normal(size=frame.shape) * 2.0, 0, 255).astype(np.uint8) for frame in frames]


def waved(photo: UInt8Array, turns_deg: Sequence[float], nods_deg: Sequence[float]) -> list[UInt8Array]:
    """A printed photo that somebody turns and nods before a patterned wall, with a camera of 60 degrees."""
    side, focal, far = SIDE_PX, 1.0 * SIDE_PX, 1.15 * SIDE_PX
    random = np.random.default_rng(3)
    wall = cv2.GaussianBlur(random.integers(60, 200, (side, side, 3)).astype(np.uint8), (0, 0), 4)
    half = SIDE_PX / 2
    corners = np.array([[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]])
    height, width = photo.shape[:2]
    on_photo = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    out = []
    for number, (turn, nod) in enumerate(zip(turns_deg, nods_deg, strict=True)):
        y, x = np.radians(turn), np.radians(nod)
        about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
        placed = corners @ (about_y @ about_x).T
        sway = 3.0 * np.array([np.sin(number / 9.0), np.cos(number / 7.0)])
        seen = focal * placed[:, :2] / (far + placed[:, 2:]) + half + sway
        matrix = cv2.getPerspectiveTransform(on_photo, seen.astype(np.float32))
        picture = cv2.warpPerspective(photo, matrix, (side, side), flags=cv2.INTER_AREA)
        mask = cv2.warpPerspective(np.full((height, width), 255, np.uint8), matrix, (side, side))
        out.append(np.where(mask[..., None] > 127, picture, wall))
    return noisy(out)


def shown_on_screen(
    frames: Sequence[UInt8Array], *, pitch: float = 2.7, focus: float = 0.35, tilt_deg: float = 2.0
) -> list[UInt8Array]:
    """Frames shown on a display of coloured stripes and filmed from it.

    Args:
        frames: What is shown.
        pitch: Display pixels per camera pixel.
        focus: Blur of the lens, in display pixels times `pitch`.
        tilt_deg: Angle between the two rasters.
    """
    random, cells = np.random.default_rng(5), 3
    stripes = np.zeros((cells, cells, 3), np.float32)
    for channel in range(3):
        stripes[:2, channel, channel] = 3.36
    out = []
    for frame in frames:
        height, width = frame.shape[:2]
        lit = np.repeat(np.repeat(frame, cells, 0), cells, 1) * np.tile(stripes, (height, width, 1))
        lit = cv2.GaussianBlur(lit, (0, 0), pitch * focus)
        matrix = cv2.getRotationMatrix2D((width * cells / 2, height * cells / 2), tilt_deg, 1 / pitch)
        matrix[:, 2] += [(width - width * cells) / 2, (height - height * cells) / 2]
        seen = cv2.warpAffine(lit, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
        out.append(np.clip(seen + random.normal(size=seen.shape) * 1.5, 0, 255).astype(np.uint8))
    return out
