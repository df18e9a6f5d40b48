"""Tell human faces from cats, dogs and chance patterns that face detectors also accept.

MediaPipe's detectors and mesh also fit dogs and cats. Its own scores, dlib's HOG detector and the agreement of two
landmark networks were tried on the same faces and overlap for people and animals. dlib's max-margin CNN detector,
trained on human faces, does not: it looks at the face turned upright at a fixed size, and its confidence is
compared with `MINIMUM_CONFIDENCE`. Measured with this code on what MediaPipe took for a face:

================================================================  =====  ===========================
pictures                                                          faces  confidence
================================================================  =====  ===========================
synthetic portraits of adults and children                        904    0.98 to 1.13, all accepted
real clips with grimaces and turns to 25 degrees (every 3rd fr.)  485    0.99 to 1.10, all accepted
people in everyday photographs (blur, backlight, hands, tilt)     11     0.77 to 1.09, all accepted
the same, full profile, face down or upside down                  3      0, refused
cats, dogs, other animals, toys in photographs (248 searched)     27     0 (26 of them) and 0.48, refused
================================================================  =====  ===========================

So what passes is a human face seen roughly from the front. What it does not tell apart: masks, dolls, statues,
paintings and plainly drawn people (all of which may be enrolled as fictional); an anime face fails. The animals
were mostly pets; apes were not tried. The limit was set with these same pictures in view, so expect a little worse.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from portrait_anim.face.crop import crop, eye_distance, eye_midpoint
from portrait_anim.face.dlib_models import model_path
from portrait_anim.face.landmarks import LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from portrait_anim.types import CropTransform, FaceObservation, UInt8Array

MINIMUM_CONFIDENCE = 0.7
_CHIP_PX = 200
_CHIP_SIDE = 3.4  # in eye distances
_CHIP_DROP = 0.35
_FACE_CONTRAST, _DARKEST = 200.0, 30.0  # grey levels after evening out
_LOWEST_GAIN, _HIGHEST_GAIN = 0.7, 8.0
_CENTRE_TOLERANCE = 0.2  # how far from the middle of the chip the human face may be found, in chip sides


class HumanFaceCheck:
    """Judges observations; loads its network (0.7 MB) when made.

    Raises:
        WeightsMissing: If the package that carries the network is not installed.
    """

    def __init__(self) -> None:
        import dlib

        self._network: Any = dlib.cnn_face_detection_model_v1(str(model_path("mmod_human_face_detector.dat")))

    def confidence(self, image: UInt8Array, face: FaceObservation) -> float:
        """How sure the network is that this is a human face, 0 (not found) to about 1.1.

        Args:
            image: The frame, `(H, W, 3)` uint8 sRGB.
            face: What was found in it.

        Returns:
            Confidence of the detection nearest to where the face should be; about 0.2 s on one core.
        """
        chip = even_contrast(crop(image, upright_transform(face)))
        middle, reach = _CHIP_PX / 2, _CENTRE_TOLERANCE * _CHIP_PX
        return max(
            (
                float(found.confidence)
                for found in self._network(chip, 0)
                if abs(found.rect.center().x - middle) < reach and abs(found.rect.center().y - middle) < reach
            ),
            default=0.0,
        )

    def is_human(self, image: UInt8Array, face: FaceObservation) -> bool:
        """Whether this is a human face as far as the check can tell.

        Args:
            image: The frame, `(H, W, 3)` uint8 sRGB.
            face: What was found in it.
        """
        return self.confidence(image, face) >= MINIMUM_CONFIDENCE


def even_contrast(chip: UInt8Array) -> UInt8Array:
    """Stretch brightness so that the face spans a fixed range.

    Without it the network loses dark skin in dim light (confidence 0 at an eighth of the light, instead of 1.0).

    Args:
        chip: Face in the middle, `(S, S, 3)` uint8 sRGB.

    Returns:
        Same shape.
    """
    size = chip.shape[0]
    middle = chip[size // 5 : -size // 6, size // 4 : -size // 4].astype(np.float32)
    low, high = np.percentile(middle @ np.array([0.299, 0.587, 0.114], np.float32), [2, 98])
    gain = float(np.clip(_FACE_CONTRAST / max(float(high - low), 1.0), _LOWEST_GAIN, _HIGHEST_GAIN))
    stretched = (chip.astype(np.float32) - low) * gain + _DARKEST
    return np.asarray(np.clip(stretched, 0, 255), dtype=np.uint8)


def upright_transform(face: FaceObservation) -> CropTransform:
    """Map of the crop that turns the eye line level, with the face in the middle.

    Args:
        face: Face with 478 landmarks.

    Returns:
        Frame px -> crop px (a similarity).
    """
    across = face.landmarks[RIGHT_EYE_OUTER] - face.landmarks[LEFT_EYE_OUTER]
    roll = math.atan2(across[1], across[0])
    scale = max(eye_distance(face), 1.0)
    down = np.array([-math.sin(roll), math.cos(roll)])
    centre = eye_midpoint(face) + _CHIP_DROP * scale * down
    zoom = _CHIP_PX / (_CHIP_SIDE * scale)
    turn = zoom * np.array([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]])
    shift = _CHIP_PX / 2 - turn @ centre
    return CropTransform(matrix=np.column_stack([turn, shift]), size_px=_CHIP_PX)
