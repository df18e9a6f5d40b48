"""Find, follow, cut out, put back and recognise faces. Importing this loads no network and no native library."""

from __future__ import annotations

from portrait_anim.face.crop import (
    crop,
    eye_distance,
    eye_midpoint,
    motion_transform,
    motion_transform_from,
    portrait_transform,
    portrait_transform_from,
)
from portrait_anim.face.detect import MINIMUM_FACE_PX, FaceChoice, FaceDetector, choose_face, find_face
from portrait_anim.face.identity import (
    IdentityEncoder,
    distance,
    load_identity_encoder,
    mean_embedding,
    threshold,
)
from portrait_anim.face.landmarks import MeasuredFace
from portrait_anim.face.paste import paste_back, soft_mask
from portrait_anim.face.track import TrackedFrame, track

__all__ = [
    "MINIMUM_FACE_PX",
    "FaceChoice",
    "FaceDetector",
    "IdentityEncoder",
    "MeasuredFace",
    "TrackedFrame",
    "choose_face",
    "crop",
    "distance",
    "eye_distance",
    "eye_midpoint",
    "find_face",
    "load_identity_encoder",
    "mean_embedding",
    "motion_transform",
    "motion_transform_from",
    "paste_back",
    "portrait_transform",
    "portrait_transform_from",
    "soft_mask",
    "threshold",
    "track",
]
