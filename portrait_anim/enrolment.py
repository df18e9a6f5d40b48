"""From files to a cameo: read portrait and challenge video, measure the faces, hand plain values to the consent gate.

The gate itself never opens a file and never sees a picture; this module is the one place that does both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from portrait_anim.consent import registry
from portrait_anim.consent.records import Cameo, LivenessFrame
from portrait_anim.consent.store import ConsentStore
from portrait_anim.inputs import read_portrait
from portrait_anim.media.image import pixel_digest
from portrait_anim.media.reader import VideoReader
from portrait_anim.types import FaceObservation, IdentityEmbedding, PathLike, Progress, ProgressCallback, UInt8Array

if TYPE_CHECKING:
    from portrait_anim.face.detect import FaceDetector
    from portrait_anim.face.identity import IdentityEncoder

Backend = Literal["auto", "dlib", "arcface"]

SAMPLE_STEP_S: Final = 0.4
"""Time between two measurements of who is in the video [s]; the gate tolerates gaps of up to 2 s."""

# A second face counts when it is at least this large beside the tracked one; smaller ones are pictures on the wall.
_BYSTANDER_SIZE: Final = 0.4


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredPortrait:
    """What the gate has to know about a portrait.

    Attributes:
        digest: sha256 of the decoded picture, hexadecimal.
        face: The face that was chosen.
        embedding: Who it is.
    """

    digest: str
    face: FaceObservation = field(repr=False)
    embedding: IdentityEmbedding = field(repr=False)


def measure_portrait(
    portrait: PathLike, *, frame_number: int = 0, face: str | None = None, backend: Backend = "auto"
) -> MeasuredPortrait:
    """Read a portrait and measure who is on it.

    Args:
        portrait: Picture, or a video.
        frame_number: Which frame of a video.
        face: Which face, see `face.detect.choose_face`.
        backend: Face model for the identity.

    Returns:
        Digest, face and identity.

    Raises:
        MediaError: If the file cannot be read.
        NoFaceFound: If it shows no human face.
        MultipleFaces: If the choice is not clear.
        FaceTooSmall: If the face has too few pixels.
    """
    from portrait_anim.face.identity import load_identity_encoder

    image = read_portrait(Path(portrait), frame_number)
    return _measure(image, load_identity_encoder(backend), face)


def enroll_from_files(
    store: ConsentStore,
    *,
    challenge_id: str,
    portrait: PathLike,
    video: PathLike,
    now: datetime,
    face: str | None = None,
    mirrored: bool = False,
    backend: Backend = "auto",
    on_progress: ProgressCallback | None = None,
) -> Cameo:
    """Enrol a living person from a portrait and the video that answers a challenge.

    Files that cannot be read do not spend the challenge; a video that was judged does.

    Args:
        store: The open consent store.
        challenge_id: The challenge that the video answers.
        portrait: Picture of the person.
        video: Recording of the person performing the challenge.
        now: When the video was handed in, timezone-aware.
        face: Which face of the portrait, when there are several.
        mirrored: Whether the camera saved a mirror image.
        backend: Face model for the identity.
        on_progress: Told about each frame, stage `"challenge"`.

    Returns:
        The new cameo. It allows nothing until something is granted.

    Raises:
        InputError: If a file cannot be used.
        ConsentDenied: If the challenge is unknown, expired or answered already.
        LivenessFailed: If the video does not answer it.
    """
    from portrait_anim.face.identity import load_identity_encoder

    registry.get_challenge(store, challenge_id, now)
    encoder = load_identity_encoder(backend)
    measured = _measure(read_portrait(Path(portrait), 0), encoder, face)
    frames = list(observe(video, encoder, on_progress=on_progress))
    return registry.enroll(
        store,
        challenge_id=challenge_id,
        portrait_embedding=measured.embedding,
        portrait_digest=measured.digest,
        observations=frames,
        now=now,
        mirrored=mirrored,
    )


def enroll_fictional_from_file(
    store: ConsentStore,
    *,
    portrait: PathLike,
    name: str,
    statement: str,
    now: datetime,
    face: str | None = None,
    backend: Backend = "auto",
) -> Cameo:
    """Enrol a figure that does not exist from its picture, on the operator's signed statement.

    Args:
        store: The open consent store.
        portrait: Picture of the figure.
        name: What to call it.
        statement: Why there is nobody to ask.
        now: Current time, timezone-aware.
        face: Which face, when there are several.
        backend: Face model for the identity.

    Returns:
        The new cameo. It allows nothing until something is granted.

    Raises:
        InputError: If the picture cannot be used.
        ConsentDenied: If the face is an enrolled real person's.
        ValueError: If name or statement are empty or too long.
    """
    measured = measure_portrait(portrait, face=face, backend=backend)
    return registry.enroll_fictional(
        store,
        name=name,
        statement=statement,
        portrait_embedding=measured.embedding,
        portrait_digest=measured.digest,
        now=now,
    )


def observe(
    video: PathLike, encoder: IdentityEncoder, *, on_progress: ProgressCallback | None = None
) -> Iterator[LivenessFrame]:
    """Measure a challenge video, one frame at a time.

    Only frames in which the face was really seen are given; what the tracker bridged is no evidence.

    Args:
        video: Recording of one person.
        encoder: Face model for the identity, which is measured every `SAMPLE_STEP_S`.
        on_progress: Told about each frame.

    Yields:
        What was measured, in order of time.

    Raises:
        MediaError: If the file is no video.
        NoFaceFound: If no frame shows a face.
    """
    from portrait_anim.face.detect import FaceDetector
    from portrait_anim.face.track import track

    due_s, num_faces = float("-inf"), 1
    with VideoReader(video) as reader, FaceDetector() as detector:
        total = reader.expected_frames
        for done, tracked in enumerate(track(reader, choice="largest"), start=1):
            if on_progress:
                on_progress(Progress(stage="challenge", done=done, total=total))
            if tracked.observation is None or tracked.status != "found":
                continue
            image, seen, embedding = tracked.frame.image, tracked.observation, None
            if tracked.frame.time_s >= due_s:
                due_s = tracked.frame.time_s + SAMPLE_STEP_S
                embedding = encoder.embed(image, seen)
                num_faces = _count_faces(image, seen, detector)
            yield _liveness_frame(image, seen, tracked.frame.time_s, embedding, num_faces)


def _measure(image: UInt8Array, encoder: IdentityEncoder, face: str | None) -> MeasuredPortrait:
    from portrait_anim.face.detect import FaceDetector, find_face

    with FaceDetector() as detector:
        found = find_face(image, detector, face)
    return MeasuredPortrait(digest=pixel_digest(image), face=found, embedding=encoder.embed(image, found))


def _count_faces(image: UInt8Array, seen: FaceObservation, detector: FaceDetector) -> int:
    """Count the faces that come near the tracked one in size, itself included."""
    from portrait_anim.face.detect import face_size

    smallest = _BYSTANDER_SIZE * face_size(seen)
    return max(1, sum(face_size(face) >= smallest for face in detector.detect(image)))


def _liveness_frame(
    image: UInt8Array, seen: FaceObservation, time_s: float, embedding: IdentityEmbedding | None, num_faces: int
) -> LivenessFrame:
    # The tracker always measures depth; a face without it would be no evidence of a solid head.
    assert seen.depth is not None
    return LivenessFrame(
        time_s=time_s,
        landmarks=seen.landmarks,
        depth=seen.depth,
        embedding=embedding,
        image_size=(image.shape[1], image.shape[0]),
        num_faces=num_faces,
    )
