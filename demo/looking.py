"""What the page shows of a portrait or a clip before anything is done with it: the face found, drawn into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from portrait_anim.errors import InputError
from portrait_anim.face.detect import MINIMUM_FACE_PX, FaceDetector, choose_face, face_size, find_face
from portrait_anim.face.plausibility import HumanFaceCheck
from portrait_anim.media.image import read_image
from portrait_anim.media.reader import VideoReader, probe
from portrait_anim.types import FaceObservation, Frame, MediaInfo, UInt8Array

SHOWN_SIDE_PX = 720
CHOSEN_COLOUR = (16, 185, 129)
OTHER_COLOUR = (148, 163, 184)
SEARCH_S = 3.0
SEARCH_STEP_S = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What was found in a picture or clip.

    Attributes:
        picture: The picture with its faces drawn, `(H, W, 3)` uint8 sRGB, or `None` when it cannot be read.
        message: One sentence in plain words.
        faces: Number of faces found.
        usable: Whether one face was found or chosen.
    """

    picture: UInt8Array | None
    message: str
    faces: int
    usable: bool


def look_at_portrait(path: Path, choice: str | None) -> Look:
    """Find the face of a source portrait.

    Args:
        path: An image file.
        choice: Which face when there are several: `"largest"`, `"left"`, `"right"`, a number, or `None`.

    Returns:
        What was found; input that cannot be used is told in the message, not raised.
    """
    try:
        image = read_image(path)
    except InputError as error:
        return _unreadable(error, path)
    height, width = image.shape[:2]
    with FaceDetector() as detector:
        return _look(image, detector, choice, about=f"{width} by {height} px")


def look_at_clip(path: Path, choice: str | None) -> Look:
    """Find the face in the beginning of a driving clip.

    Args:
        path: A video file.
        choice: As for `look_at_portrait`.

    Returns:
        What was found in the first picture that shows a face within the first seconds.
    """
    try:
        info = probe(path)
        first, best = None, None
        with VideoReader(path, end_s=SEARCH_S) as frames, FaceDetector() as detector:
            for frame in _every(frames, SEARCH_STEP_S):
                look = _look(frame.image, detector, choice, about=_describe(info))
                first = first or look
                if look.faces:
                    best = look
                    break
    except InputError as error:
        return _unreadable(error, path)
    if best is not None:
        return best
    if first is None:
        return Look(picture=None, message="The clip holds no pictures. Choose another one.", faces=0, usable=False)
    return first


def _unreadable(error: InputError, path: Path) -> Look:
    """Tell what is wrong with a file by its name, without the folder the browser's upload was put into."""
    return Look(picture=None, message=str(error).replace(str(path), path.name), faces=0, usable=False)


def _every(frames: VideoReader, step_s: float) -> Iterator[Frame]:
    """Give the frames that are at least `step_s` apart."""
    due = float("-inf")
    for frame in frames:
        if frame.time_s >= due:
            due = frame.time_s + step_s
            yield frame


def _look(image: UInt8Array, detector: FaceDetector, choice: str | None, *, about: str) -> Look:
    check = HumanFaceCheck()
    faces = [face for face in detector.detect(image) if face_size(face) >= MINIMUM_FACE_PX]
    faces = [face for face in faces if check.is_human(image, face)]
    try:
        chosen = choose_face(faces, choice) if faces else find_face(image, detector, choice)
    except InputError as error:
        return Look(picture=_draw(image, faces, None), message=str(error), faces=len(faces), usable=False)
    message = f"Face found, {face_size(chosen):.0f} px wide. {about}."
    return Look(picture=_draw(image, faces, chosen), message=message, faces=len(faces), usable=True)


def _describe(info: MediaInfo) -> str:
    """Say what a clip is: length, rate, size, sound."""
    parts = [f"{info.duration_s:.1f} s"] if info.duration_s else []
    if info.fps:
        parts.append(f"{float(info.fps):.4g} frames per second")
    parts.append(f"{info.width} by {info.height} px")
    parts.append("with sound" if info.has_audio else "no sound")
    return ", ".join(parts)


def _shown(image: UInt8Array) -> tuple[UInt8Array, float]:
    """Reduce a picture to what a page needs; also gives the factor."""
    factor = min(1.0, SHOWN_SIDE_PX / max(image.shape[:2]))
    if factor == 1.0:
        return image, factor
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)), factor


def _draw(image: UInt8Array, faces: Sequence[FaceObservation], chosen: FaceObservation | None) -> UInt8Array:
    """Draw every face as a box, numbered from the left when there are several."""
    shown, factor = _shown(image)
    canvas = Image.fromarray(shown).convert("RGB")
    pen = ImageDraw.Draw(canvas)
    width = max(2, round(max(canvas.size) / 240))
    font = ImageFont.load_default(size=max(14, round(max(canvas.size) / 28)))
    for number, face in enumerate(sorted(faces, key=lambda face: float(face.box[0] + face.box[2]))):
        is_chosen = chosen is not None and bool(np.allclose(face.box, chosen.box))
        colour = CHOSEN_COLOUR if is_chosen else OTHER_COLOUR
        left, top, right, bottom = (float(value) * factor for value in face.box)
        pen.rounded_rectangle((left, top, right, bottom), radius=4 * width, outline=colour, width=width)
        if len(faces) > 1:
            box = pen.textbbox((left + 2 * width, top + 2 * width), str(number), font=font)
            pen.rectangle((box[0] - width, box[1] - width, box[2] + width, box[3] + width), fill=colour)
            pen.text((left + 2 * width, top + 2 * width), str(number), fill=(15, 23, 42), font=font)
    return np.asarray(canvas)
