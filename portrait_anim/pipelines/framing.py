"""Which square of a portrait a profile's pipeline animates."""

from __future__ import annotations

from portrait_anim.face.crop import portrait_transform
from portrait_anim.pipelines.xportrait2_crops import portrait_box, square_transform
from portrait_anim.types import CropTransform, FaceObservation, UInt8Array


def frame_face(profile: str, portrait: UInt8Array, face: FaceObservation, size_px: int) -> CropTransform:
    """Map the pixels of a portrait to those of the generated face.

    Args:
        profile: Model profile.
        portrait: `(H, W, 3)` uint8 sRGB.
        face: The face that is animated.
        size_px: Side of the generated face [px].
    """
    if profile != "xportrait2":
        return portrait_transform(face, size_px)
    from portrait_anim.face.short_range import ShortRangeDetector

    with ShortRangeDetector() as detector:
        left, top, right, bottom = detector.box_of(portrait, face)
    square, _ = portrait_box((left, top, right, bottom), (portrait.shape[0], portrait.shape[1]))
    return square_transform(square, size_px)
