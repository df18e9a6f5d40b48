"""Measuring a challenge video: the face frame by frame, and the recording as a whole. Judged by the consent gate."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from portrait_anim import spoken_code
from portrait_anim.consent.evidence import EnrolmentPolicy, RecordingEvidence
from portrait_anim.consent.records import Challenge, LivenessFrame
from portrait_anim.errors import MediaError
from portrait_anim.media import container as containers
from portrait_anim.media.failures import media_errors
from portrait_anim.media.reader import VideoReader, probe
from portrait_anim.recording import SceneWatcher
from portrait_anim.recording_origin import file_digest, origin_marks, recorded_at, track_lengths
from portrait_anim.types import (
    FaceObservation,
    Frame,
    IdentityEmbedding,
    PathLike,
    Progress,
    ProgressCallback,
    UInt8Array,
)

if TYPE_CHECKING:
    from portrait_anim.face.detect import FaceDetector
    from portrait_anim.face.identity import IdentityEncoder

logger = logging.getLogger(__name__)

SAMPLE_STEP_S: Final = 0.4
"""Time between two measurements of who is in the video [s]; the gate tolerates gaps of up to 2 s."""
MAX_VIDEO_BYTES: Final = 500 * 2**20
MAX_PORTRAIT_BYTES: Final = 60 * 2**20
MAX_VIDEO_S: Final = 90.0
MAX_VIDEO_PX: Final = 4096 * 2304
MAX_VIDEO_FRAMES: Final = 5400
"""As many as 90 s have at 60 frames per second; each takes time to be measured."""

# A second face counts when it is at least this large beside the tracked one; smaller ones are pictures on the wall.
_BYSTANDER_SIZE: Final = 0.4


class PassiveLiveness(Protocol):
    """A network that tells a face from a picture of one, such as InsightFace's liveness add-on."""

    def __call__(self, image: UInt8Array, face: FaceObservation) -> float | None:
        """Judge one frame.

        Args:
            image: The frame, `(H, W, 3)` uint8 sRGB.
            face: The face in it.

        Returns:
            0 (a picture or a screen) to 1 (alive), or `None` when this frame does not tell.
        """
        ...


class Watched:
    """Everything that is seen of a recording beside landmarks and identity.

    Args:
        liveness: A passive liveness network, when one is installed.
    """

    def __init__(self, liveness: PassiveLiveness | None = None) -> None:
        self.scene = SceneWatcher()
        self._liveness = liveness
        self._scores: list[float | None] = []

    def see(self, frame: Frame, face: FaceObservation | None, *, closely: bool) -> None:
        """Look at the next frame; `closely` where identity is measured, too."""
        self.scene.see(frame, face, closely=closely)
        if closely and face is not None and self._liveness is not None:
            self._scores.append(self._liveness(frame.image, face))

    @property
    def liveness_asked(self) -> bool:
        """Whether a passive liveness network looks at the recording."""
        return self._liveness is not None

    @property
    def live_score(self) -> float | None:
        """Typical result of the passive liveness network, or `None` when it told of less than half of the frames."""
        told = [score for score in self._scores if score is not None]
        return float(np.median(told)) if told and 2 * len(told) >= len(self._scores) else None


def check_sizes(portrait: Path, video: Path) -> None:
    """Refuse files that are too large to be looked at, before anything is decoded.

    Args:
        portrait: File of the portrait.
        video: File of the challenge video.

    Raises:
        MediaError: If one is too large, too long, no file, or no media.
    """
    for path, most in ((portrait, MAX_PORTRAIT_BYTES), (video, MAX_VIDEO_BYTES)):
        try:
            size = path.stat().st_size
        except (OSError, ValueError) as error:  # ValueError: a name with a null byte
            raise MediaError(f"expected a file, got {path.name!r}, which cannot be opened; choose it again") from error
        if size > most:
            raise MediaError(
                f"expected a file of at most {most >> 20} MB, got {path.name} of {size >> 20} MB; hand in a smaller one"
            )
    info = probe(video)
    if info.duration_s > MAX_VIDEO_S:
        raise _too_long(f"{info.duration_s:.0f} s")
    if info.width * info.height > MAX_VIDEO_PX:
        raise MediaError(
            f"expected a challenge video of at most 4096x2304 px, got {info.width}x{info.height} px; "
            "record in a smaller size"
        )
    # Pictures whose time stands still are left out when they are read, and would be read for hours.
    if (count := _num_pictures(video)) > MAX_VIDEO_FRAMES:
        raise _too_long(f"{count} frames")


def _num_pictures(video: Path) -> int:
    """Count the coded pictures of a video; nothing is decoded."""
    with media_errors(video, "read"), containers.open_input(video) as container:
        stream = containers.video_stream(container)
        return 0 if stream is None else sum(1 for packet in container.demux(stream) if packet.size)


def gather_evidence(
    challenge: Challenge,
    portrait: Path,
    video: Path,
    *,
    watched: Watched,
    policy: EnrolmentPolicy,
) -> RecordingEvidence:
    """Measure a recording as a whole, after its frames were seen.

    Args:
        challenge: What is being answered.
        portrait: File of the portrait.
        video: File of the recording.
        watched: What was seen in its frames.
        policy: What the operator demands.

    Returns:
        The evidence.

    Raises:
        MediaError: If the file cannot be read.
    """
    picture_s, sound_s = track_lengths(video)
    listening = bool(challenge.code) and challenge.code_policy != "off"
    return RecordingEvidence(
        sha256=file_digest(video),
        recorded_at=recorded_at(video),
        marks=origin_marks(video),
        scene=watched.scene.samples(),
        screen=watched.scene.pattern,
        picture_s=picture_s,
        sound_s=sound_s,
        heard=spoken_code.hear_code(video) if listening else None,
        live_score=watched.live_score,
        liveness_asked=watched.liveness_asked,
        age_refusal=_age_refusal(challenge, portrait, video, policy),
    )


def _age_refusal(challenge: Challenge, portrait: Path, video: Path, policy: EnrolmentPolicy) -> str:
    """What the deployment's own check of age says against the person; a check that fails refuses."""
    if policy.age_check is None:
        return ""
    try:
        refusal = policy.age_check(challenge=challenge, portrait=portrait, video=video)
    except Exception as error:  # noqa: BLE001  foreign code: whatever goes wrong in it, nobody is enrolled
        # Neither the log nor the person learns what it says, which may name somebody.
        logger.error("the check of age of challenge %s failed: %s", challenge.id, type(error).__name__)
        return "it could not be made; try again later"
    if refusal is None:
        return ""
    return str(refusal)[:200] or "it gave no reason"


def observe(
    video: PathLike,
    encoder: IdentityEncoder,
    *,
    watched: Watched | None = None,
    on_progress: ProgressCallback | None = None,
) -> Iterator[LivenessFrame]:
    """Measure a challenge video, one frame at a time.

    Only frames in which the face was really seen are given; what the tracker bridged is no evidence.

    Args:
        video: Recording of one person.
        encoder: Face model for the identity, which is measured every `SAMPLE_STEP_S`.
        watched: Also looks at every frame, when given.
        on_progress: Told about each frame.

    Yields:
        What was measured, in order of time.

    Raises:
        MediaError: If the file is no video, or longer than its header says and than is looked at.
        NoFaceFound: If no frame shows a face.
    """
    from portrait_anim.face.detect import FaceDetector
    from portrait_anim.face.track import track

    due_s, num_faces = float("-inf"), 1
    with VideoReader(video) as reader, FaceDetector() as detector:
        total = reader.expected_frames
        for done, tracked in enumerate(track(reader, choice="largest"), start=1):
            if tracked.frame.time_s > MAX_VIDEO_S or done > MAX_VIDEO_FRAMES:
                raise _too_long(f"more than {done - 1} frames")
            if on_progress:
                on_progress(Progress(stage="challenge", done=done, total=total))
            found = tracked.observation if tracked.status == "found" else None
            sampled = found is not None and tracked.frame.time_s >= due_s
            if watched is not None:
                watched.see(tracked.frame, found, closely=sampled)
            if found is None:
                continue
            image, seen, embedding = tracked.frame.image, found, None
            if sampled:
                due_s = tracked.frame.time_s + SAMPLE_STEP_S
                embedding = encoder.embed(image, seen)
                num_faces = _count_faces(image, seen, detector)
            yield _liveness_frame(image, seen, tracked.frame.time_s, embedding, num_faces)


def _too_long(found: str) -> MediaError:
    return MediaError(
        f"expected a challenge video of at most {MAX_VIDEO_S:g} s and {MAX_VIDEO_FRAMES} frames, got {found}; "
        "record only the challenge"
    )


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
