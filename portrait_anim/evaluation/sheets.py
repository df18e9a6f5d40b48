"""Contact sheets of one pair: driver above, output below, at evenly spaced times and where the output is worst."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from portrait_anim.evaluation.curves import FaceCurves, PreparedClip, spread
from portrait_anim.evaluation.output import pictures
from portrait_anim.face.crop import crop, eye_distance, eye_midpoint, portrait_transform_from
from portrait_anim.sheet import fit
from portrait_anim.types import CropTransform, UInt8Array

COLUMNS: Final = 9
SIDE_PX: Final = 160
_CAPTION_PX: Final = 18
_FRAMING_FRAMES: Final = 25


def pair_sheet(clip: PreparedClip, video: Path, portrait: UInt8Array, worst: Sequence[tuple[int, str]]) -> UInt8Array:
    """Draw the sheet of a pair.

    Args:
        clip: The driving clip.
        video: The labelled output.
        portrait: The portrait as cropped, `(S, S, 3)` uint8 sRGB.
        worst: Frames to show as the worst, with captions.

    Returns:
        `(H, W, 3)` uint8 sRGB: the portrait on the left of the evenly spaced frames, the worst ones beneath.
    """
    count = len(clip.curves.points)
    even = spread(range(count), COLUMNS)
    rows = [[(index, f"{index / clip.curves.fps:.2f} s") for index in even]]
    if worst:
        rows.append([(index, f"{index / clip.curves.fps:.2f} s {why}") for index, why in worst[:COLUMNS]])
    wanted = {index for row in rows for index, _ in row}
    outputs = dict(pictures(video, wanted))
    drivers = _driver_pictures(clip, wanted)
    strips = [_strip(row, drivers, outputs) for row in rows]
    margin = np.full((sum(len(strip) for strip in strips), SIDE_PX, 3), 255, np.uint8)
    margin[_CAPTION_PX + SIDE_PX : _CAPTION_PX + 2 * SIDE_PX] = fit(portrait, (SIDE_PX, SIDE_PX))
    write(margin, (2, SIDE_PX + 2), "portrait")
    return np.concatenate([margin, np.concatenate(strips)], axis=1)


def write(image: UInt8Array, place: tuple[int, int], text: str) -> None:
    """Write a caption into a picture, in place.

    Args:
        image: `(H, W, 3)` uint8.
        place: Left and top of the text [px].
        text: One short line.
    """
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.fromarray(image)
    ImageDraw.Draw(canvas).text(place, text, fill=(40, 40, 40), font=ImageFont.load_default(11))
    image[...] = np.asarray(canvas)


def _strip(
    row: Sequence[tuple[int, str]], drivers: dict[int, UInt8Array], outputs: dict[int, UInt8Array]
) -> UInt8Array:
    """Captions, drivers, outputs of one row `(caption + 2 sides, COLUMNS sides, 3)`."""
    strip = np.full((_CAPTION_PX + 2 * SIDE_PX, COLUMNS * SIDE_PX, 3), 255, np.uint8)
    for column, (index, caption) in enumerate(row):
        left = slice(column * SIDE_PX, (column + 1) * SIDE_PX)
        write(strip[:_CAPTION_PX, left], (2, 2), caption)
        for top, found in ((_CAPTION_PX, drivers), (_CAPTION_PX + SIDE_PX, outputs)):
            if index in found:
                strip[top : top + SIDE_PX, left] = fit(found[index], (SIDE_PX, SIDE_PX))
    return strip


def _driver_pictures(clip: PreparedClip, indices: set[int]) -> dict[int, UInt8Array]:
    """The driver's frames, cut to its face as the portrait is, by one transform for the whole clip."""
    framing = _framing(clip.curves)
    out = {}
    with clip.source().frames() as frames:
        for index, frame in enumerate(frames):
            if index in indices:
                out[index] = frame.image if framing is None else crop(frame.image, framing)
            if index >= max(indices):
                break
    return out


def _framing(curves: FaceCurves) -> CropTransform | None:
    faces = [curves.face(index) for index in spread(np.flatnonzero(curves.seen), _FRAMING_FRAMES)]
    if not faces:
        return None
    centre = np.median([eye_midpoint(face) for face in faces], axis=0)
    return portrait_transform_from(centre, float(np.median([eye_distance(face) for face in faces])), SIDE_PX)
