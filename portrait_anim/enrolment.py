"""From files to a cameo: read portrait and challenge video, measure the faces, hand plain values to the consent gate.

The gate itself never opens a file and never sees a picture; this module is the one place that does both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Literal

from portrait_anim.consent import challenges, registry
from portrait_anim.consent.challenges import NUM_ACTIONS
from portrait_anim.consent.evidence import EnrolmentPolicy
from portrait_anim.consent.handover import Handover
from portrait_anim.consent.kept_videos import KeptVideo, forget_unrecorded, keep_video
from portrait_anim.consent.records import Cameo, Challenge, CodePolicy
from portrait_anim.consent.store import ConsentStore
from portrait_anim.inputs import read_portrait
from portrait_anim.media.image import pixel_digest
from portrait_anim.observation import PassiveLiveness, Watched, check_sizes, gather_evidence, observe
from portrait_anim.types import FaceObservation, IdentityEmbedding, PathLike, ProgressCallback, UInt8Array

if TYPE_CHECKING:
    from portrait_anim.face.identity import IdentityEncoder

__all__ = [
    "Backend",
    "MeasuredPortrait",
    "enroll_fictional_from_file",
    "enroll_from_files",
    "issue_challenge_for",
    "measure_portrait",
    "observe",
]

Backend = Literal["auto", "dlib", "arcface"]


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


def issue_challenge_for(
    store: ConsentStore,
    *,
    portrait: PathLike,
    name: str,
    adult_declared: bool,
    now: datetime,
    face: str | None = None,
    random: Random | None = None,
    num_actions: int = NUM_ACTIONS,
    code_policy: CodePolicy = "optional",
    dot: bool = False,
) -> Challenge:
    """Issue a challenge for the person on a portrait.

    Args:
        store: The open consent store.
        portrait: Picture that will be enrolled; the challenge is good for no other.
        name: Name under which the cameo will be enrolled.
        adult_declared: Whether the person declared to be of age.
        now: Current time, timezone-aware.
        face: Which face of the portrait, when there are several.
        random: Source of randomness; the operating system's when `None`.
        num_actions: How many actions, 5 to 9.
        code_policy: Whether six spoken digits must be heard.
        dot: Whether a dot to follow can be shown to the person.

    Returns:
        The challenge.

    Raises:
        InputError: If the portrait cannot be used.
        ConsentDenied: If the person did not declare to be of age, or the face had too many challenges within a day.
        ValueError: If the name makes no sense.
    """
    measured = measure_portrait(portrait, face=face)
    return challenges.issue_challenge(
        store,
        name=name,
        portrait_digest=measured.digest,
        face=measured.embedding,
        adult_declared=adult_declared,
        now=now,
        random=random,
        num_actions=num_actions,
        code_policy=code_policy,
        dot=dot,
    )


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
    policy: EnrolmentPolicy | None = None,
    liveness: PassiveLiveness | None = None,
    handover: Handover | None = None,
    on_progress: ProgressCallback | None = None,
) -> Cameo:
    """Enrol a living person from a portrait and the video that answers a challenge.

    Files that cannot be read do not spend the challenge; a video that was judged does.

    Args:
        store: The open consent store.
        challenge_id: The challenge that the video answers.
        portrait: Picture of the person, the one that the challenge was issued for.
        video: Recording of the person performing the challenge.
        now: When the video was handed in, timezone-aware.
        face: Which face of the portrait, when there are several.
        mirrored: Whether the camera saved a mirror image.
        backend: Face model for the identity.
        policy: What the operator demands.
        liveness: A passive liveness network, when one is installed.
        handover: Link and account of a person who enrols through a link.
        on_progress: Told about each frame, stage `"challenge"`.

    Returns:
        The new cameo. It allows nothing until something is granted.

    Raises:
        InputError: If a file cannot be used.
        ConsentDenied: If the challenge is unknown, expired, answered already or for another portrait, or the person
            is protected or enrolled under another name.
        LivenessFailed: If the video does not answer it.
    """
    from portrait_anim.face.identity import load_identity_encoder

    portrait, video, policy = Path(portrait), Path(video), policy or EnrolmentPolicy()
    challenge = registry.get_challenge(store, challenge_id, now)
    check_sizes(portrait, video)
    encoder = load_identity_encoder(backend)
    measured = _measure(read_portrait(portrait, 0), encoder, face)
    challenges.check_bound(challenge, measured.digest, link_digest="" if handover is None else handover.link_digest)
    watched = Watched(liveness)
    frames = list(observe(video, encoder, watched=watched, on_progress=on_progress))
    evidence = gather_evidence(challenge, portrait, video, watched=watched, policy=policy)
    with _kept(store, challenge_id, video, policy) as kept:
        return registry.enroll(
            store, challenge_id=challenge_id, portrait_embedding=measured.embedding, portrait_digest=measured.digest,
            observations=frames, evidence=evidence, now=now, kept=kept, policy=policy, mirrored=mirrored,
            handover=handover,
        )  # fmt: skip


@contextmanager
def _kept(store: ConsentStore, challenge_id: str, video: Path, policy: EnrolmentPolicy) -> Iterator[KeptVideo | None]:
    """Keep an encrypted copy of the video if the policy wants one; it goes again when the block fails to record it."""
    kept = keep_video(store, video) if policy.keep_video_days > 0 else None
    try:
        yield kept
    except BaseException:
        if kept is not None:
            forget_unrecorded(store, challenge_id, kept)
        raise


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


def _measure(image: UInt8Array, encoder: IdentityEncoder, face: str | None) -> MeasuredPortrait:
    from portrait_anim.face.detect import FaceDetector, find_face

    with FaceDetector() as detector:
        found = find_face(image, detector, face)
    return MeasuredPortrait(digest=pixel_digest(image), face=found, embedding=encoder.embed(image, found))
