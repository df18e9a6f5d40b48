"""What is measured on a rendered video: landmarks, identity, sharpness, flicker and seams, and where the label is.

Shape legend: T frames, S crop side. The output is the square face crop, read twice: once for landmarks, once for the
few frames in which slower figures are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from portrait_anim.evaluation.curves import IDENTITY_FRAMES, FaceCurves, follow_face, spread
from portrait_anim.evaluation.picture_metrics import BoolArray, flicker, seam_ratio, sharpness
from portrait_anim.face.crop import at_pixel_indices, covered_region, crop
from portrait_anim.face.detect import FaceDetector, find_face
from portrait_anim.face.identity import IdentityEncoder, distance
from portrait_anim.face.paste import paste_back, soft_mask
from portrait_anim.inputs import read_portrait
from portrait_anim.media.reader import VideoReader
from portrait_anim.pipelines.framing import frame_face
from portrait_anim.provenance.label import Labeller, face_zones
from portrait_anim.types import CropTransform, Float32Array, Float64Array, Frame, IdentityEmbedding, UInt8Array

SEAM_FRAMES: Final = 4
INNER_FACE: Final = (33, 133, 263, 362, 70, 300, 105, 334, 61, 291, 0, 17)
"""Outermost landmarks of brows, eyes and lips. A label drawn over them on real clips made the trembling of all
landmarks 2.5 to 3.4 times larger and brought the correlation of small signals down to 0.2; over chin or forehead the
trembling grew 1.1 to 1.3 times.
"""
_LABEL_MARGIN: Final = 0.08  # the label disturbs landmarks this near to it, in eye distances
_FLICKER_SCALE: Final = 4
_HAIR: Final = 1.8  # size of the head with hair relative to the landmarks' hull
_FACE_OVAL: Final = 468


@dataclass(frozen=True, kw_only=True, slots=True)
class PortraitView:
    """A portrait as the pipeline crops it, and who is on it.

    Attributes:
        image: `(H, W, 3)` uint8 sRGB.
        transform: Portrait pixels to output crop.
        crop: `(S, S, 3)` uint8 sRGB.
        landmarks: `(478, 2)` float64 [crop px].
        identities: Embedding by backend.
    """

    image: UInt8Array
    transform: CropTransform
    crop: UInt8Array
    landmarks: Float64Array
    identities: dict[str, IdentityEmbedding]


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputMeasurement:
    """What was measured on one output.

    Attributes:
        curves: Landmarks.
        hidden: `(T,)` bool: the label lies over brows, eyes, nose or mouth; what is measured then is not the face.
        near: `(T,)` bool: the label touches the face at all; landmarks then tremble a little.
        identity: Distance to the portrait by frame, by backend.
        sharpness: Fine contrast in the face over the portrait's, by frame.
        seams: `metrics.seam_ratio` of pasted frames, by frame.
        flicker: Change of still background [grey levels per frame].
    """

    curves: FaceCurves
    hidden: BoolArray
    near: BoolArray
    identity: dict[str, dict[int, float]]
    sharpness: dict[int, float]
    seams: dict[int, float]
    flicker: float | None


def view_portrait(
    path: Path, size_px: int, face: str | None, encoders: Sequence[IdentityEncoder], profile: str = "lite"
) -> PortraitView:
    """Crop a portrait as the pipeline does and measure who is on it.

    Args:
        path: Picture, or a video whose first frame is taken.
        size_px: Side S of the crop.
        face: Which face.
        encoders: Measures of identity.
        profile: Model profile, which decides on the crop.

    Raises:
        InputError: If the picture cannot be used.
    """
    image = read_portrait(path)
    with FaceDetector() as detector:
        found = find_face(image, detector, face)
    transform = frame_face(profile, image, found, size_px)
    return PortraitView(
        image=image,
        transform=transform,
        crop=crop(image, transform),
        landmarks=found.landmarks @ transform.matrix[:, :2].T + transform.matrix[:, 2],
        identities={encoder.backend: encoder.embed(image, found) for encoder in encoders},
    )


def measure_output(video: Path, view: PortraitView, encoders: Sequence[IdentityEncoder]) -> OutputMeasurement:
    """Measure a rendered face crop.

    Args:
        video: The output, with its label.
        view: The portrait.
        encoders: Measures of identity, as those of the view.

    Returns:
        What was measured.

    Raises:
        MediaError: If the video cannot be read.
    """
    thumbnails: list[Float32Array] = []
    with VideoReader(video) as reader:
        fps = float(reader.fps)
        curves = follow_face(_observed(iter(reader), thumbnails), fps)
    labeller = Labeller(curves.size, keep_clear=face_zones(view.landmarks))  # as the studio draws it
    hidden = label_hides(curves.points, labeller, fps, INNER_FACE)
    near = label_hides(curves.points, labeller, fps, range(_FACE_OVAL))
    clear = np.flatnonzero(curves.seen & ~hidden)
    looked_at, pasted = spread(clear, IDENTITY_FRAMES), set(spread(clear, SEAM_FRAMES))
    portrait_sharpness = sharpness(view.crop, face_mask(view.landmarks, len(view.crop)))
    identity: dict[str, dict[int, float]] = {encoder.backend: {} for encoder in encoders}
    sharp: dict[int, float] = {}
    seams: dict[int, float] = {}
    for index, image in pictures(video, looked_at):
        face = curves.face(index)
        for encoder in encoders:
            backend = encoder.backend
            identity[backend][index] = distance(view.identities[backend], encoder.embed(image, face))
        value = sharpness(image, face_mask(face.landmarks, len(image)))
        if value is not None and portrait_sharpness:
            sharp[index] = value / portrait_sharpness
        if index in pasted:
            seam = _seam(image, view, labeller.box(index / fps))
            if seam is not None:
                seams[index] = seam
    return OutputMeasurement(
        curves=curves, hidden=hidden, near=near, identity=identity, sharpness=sharp, seams=seams,
        flicker=_background_flicker(np.stack(thumbnails), curves, labeller),
    )  # fmt: skip


def label_hides(points: Float32Array, labeller: Labeller, fps: float, landmarks: Sequence[int]) -> BoolArray:
    """In which frames the visible label lies over a part of the face.

    Args:
        points: `(T, 478, 3)` [px]; where the face was not seen, the last place is assumed.
        labeller: Knows where the label is.
        fps: Frame rate [1/s].
        landmarks: The part.

    Returns:
        `(T,)` bool; all false when the face was never seen.
    """
    out = np.zeros(len(points), bool)
    box: Float64Array | None = None
    for index, frame in enumerate(points):
        if np.isfinite(frame[0, 0]):
            part = frame[list(landmarks), :2].astype(np.float64)
            margin = _LABEL_MARGIN * float(np.linalg.norm(frame[263] - frame[33]))
            box = np.concatenate([part.min(axis=0) - margin, part.max(axis=0) + margin])
        if box is not None:
            left, top, right, bottom = labeller.box(index / fps)
            out[index] = left < box[2] and right > box[0] and top < box[3] and bottom > box[1]
    return out


def pictures(video: Path, indices: Iterable[int]) -> Iterator[tuple[int, UInt8Array]]:
    """Decode some frames of an output.

    Args:
        video: The output.
        indices: Frame numbers.

    Yields:
        Number and picture `(S, S, 3)` uint8 sRGB, in order.
    """
    wanted = set(indices)
    if not wanted:
        return
    with VideoReader(video) as reader:
        for frame in reader:
            if frame.index in wanted:
                yield frame.index, frame.image
            if frame.index >= max(wanted):
                return


def face_mask(landmarks: Float64Array, size_px: int) -> BoolArray:
    """The inside of a face `(S, S)`: the hull of the landmarks without a rim.

    Args:
        landmarks: `(478, 2)` [px].
        size_px: Side S of the picture.
    """
    return _hull(landmarks[:_FACE_OVAL], size_px, 0.94)


def _observed(frames: Iterable[Frame], thumbnails: list[Float32Array]) -> Iterator[Frame]:
    """Pass frames on and keep a small grey picture of each."""
    import cv2

    for frame in frames:
        height, width = (side // _FLICKER_SCALE for side in frame.image.shape[:2])
        small = cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_AREA)
        thumbnails.append(np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.float32))
        yield frame


def _background_flicker(frames: Float32Array, curves: FaceCurves, labeller: Labeller) -> float | None:
    """Flicker above the chin, outside hair and label."""
    masks = np.zeros(frames.shape, bool)
    side = frames.shape[1]
    for index in np.flatnonzero(curves.seen):
        points = curves.points[index, :_FACE_OVAL, :2].astype(np.float64) / _FLICKER_SCALE
        masks[index] = ~_hull(points, side, _HAIR)
        masks[index, max(0, int(points[:, 1].max())) :] = False
        left, top, right, bottom = (value // _FLICKER_SCALE for value in labeller.box(index / curves.fps))
        masks[index, max(0, top - 1) : bottom + 2, max(0, left - 1) : right + 2] = False
    return flicker(frames, masks)


def _seam(image: UInt8Array, view: PortraitView, label: tuple[int, int, int, int]) -> float | None:
    """Paste a frame into the portrait, in memory only, and judge the border outside the label."""
    size = view.transform.size_px
    left, top, right, bottom = label
    clean, unlabelled = image.copy(), np.ones((size, size, 1), np.float32)
    clean[top:bottom, left:right] = view.crop[top:bottom, left:right]
    unlabelled[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2] = 0
    mask = soft_mask(size)
    pasted = paste_back(clean, view.image, view.transform, mask, reference_crop=view.crop)
    x0, y0, x1, y1 = covered_region(view.transform, view.image.shape[1], view.image.shape[0])
    to_frame = _into_region(view.transform, (x0, y0, x1, y1))
    region = (slice(y0, y1), slice(x0, x1))
    return seam_ratio(pasted[region], view.image[region], to_frame(mask), to_frame(unlabelled) > 0.99)


def _into_region(transform: CropTransform, region: tuple[int, int, int, int]) -> Callable[[Float32Array], Float32Array]:
    """Function that brings a layer of the crop `(S, S, 1)` to a region of the frame."""
    import cv2

    left, top, right, bottom = region
    matrix = transform.matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ np.array([left, top], dtype=np.float64)

    def bring(layer: Float32Array) -> Float32Array:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(layer, at_pixel_indices(matrix), (right - left, bottom - top), flags=flags), np.float32
        )

    return bring


def _hull(points: Float64Array, size_px: int, growth: float) -> BoolArray:
    """Convex hull of points, scaled about its centre, as a mask `(S, S)`."""
    import cv2

    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    grown = centre + growth * (points - centre)
    hull = cv2.convexHull(np.round(grown - 0.5).astype(np.int32))
    mask = np.zeros((size_px, size_px), np.uint8)
    cv2.fillConvexPoly(mask, hull, 1)
    return mask.astype(bool)
