"""What was measured about a challenge video as a whole, and what the operator demands of it. Values only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np

from portrait_anim.consent.records import Challenge
from portrait_anim.types import Float64Array

OriginMark = Literal["own_watermark", "own_manifest", "ai_manifest", "damaged_manifest"]
"""Signs in a file that it was made or changed by a generator, not by a camera."""
_LONGEST_DAYS: Final = 36_500


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneSamples:
    """What happens around the face, frame by frame.

    Attributes:
        time_s: `(N,)` times [s], rising.
        change: `(N,)` mean difference of brightness from the frame before, 0 to 1; the first is 0.
        backdrop: `(N, 2)` position of the backdrop, summed over the frames [px]; x to the right, y down.
        seen: `(N,)` bool, whether the backdrop had enough texture to be followed from the frame before.
    """

    time_s: Float64Array
    change: Float64Array
    backdrop: Float64Array
    seen: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

    def __post_init__(self) -> None:
        count = len(self.time_s)
        shapes = (self.time_s.shape, self.change.shape, self.backdrop.shape, self.seen.shape)
        if shapes != ((count,), (count,), (count, 2), (count,)):
            raise ValueError(f"expected times (N,), changes (N,), backdrop (N, 2) and seen (N,), got {shapes}")
        if not all(np.isfinite(values).all() for values in (self.time_s, self.change, self.backdrop)):
            raise ValueError("expected finite samples of the scene, got others; measure the video again")


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingEvidence:
    """What was measured in a challenge video beside the face.

    Attributes:
        sha256: Digest of the file as handed in, hexadecimal.
        recorded_at: When the camera says it recorded [UTC], or `None` when the file does not tell.
        marks: Signs of a generator in the file.
        scene: What happens around the face.
        screen: Strength of the pattern that a filmed screen leaves (see `portrait_anim.recording`), or `None`.
        picture_s: Length of the picture, by its time stamps [s].
        sound_s: Length of the sound track, likewise [s], or `None` without sound.
        heard: Digits that were heard in it, or `None` when nobody listened.
        live_score: Result of a passive liveness network, 0 (a picture) to 1 (alive), or `None` when none judged.
        liveness_asked: Whether a network looked at the video; one that then does not judge refuses.
        age_refusal: Why the deployment's own check of age refused, or `""`.
    """

    sha256: str
    recorded_at: datetime | None
    marks: tuple[OriginMark, ...]
    scene: SceneSamples = field(repr=False)
    screen: float | None
    picture_s: float
    sound_s: float | None
    heard: str | None = field(repr=False)
    live_score: float | None
    liveness_asked: bool = False
    age_refusal: str = ""

    @property
    def has_sound(self) -> bool:
        """Whether the video has a sound track."""
        return self.sound_s is not None


class AgeCheck(Protocol):
    """A deployment's own check that the person is of age; see `EnrolmentPolicy`."""

    def __call__(self, *, challenge: Challenge, portrait: Path, video: Path) -> str | None:
        """Return `None` to accept, or why not in plain words.

        An error counts as a refusal.

        Args:
            challenge: What is being answered.
            portrait: File of the portrait.
            video: File of the challenge video.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class EnrolmentPolicy:
    """What an operator demands when people enrol.

    Attributes:
        keep_video_days: How long an encrypted copy of the video is kept [days]; 0 keeps none. Digest and encrypted
            print of movements stay, so that the video is recognised when it is handed in again; the print goes with
            the cameo.
        same_face: What happens to somebody who is already enrolled under another name: `"refuse"`, or `"flag"`, which
            enrols and notes it in the ledger.
        passive_liveness: Whether a passive liveness network must have judged the video.
        age_check: The deployment's own check of age; the person's declaration is demanded in any case.
        replay_likeness: From this likeness of movements on, a video counts as a copy of an earlier one.
        screen_pattern: From this strength on, a video counts as filmed from a screen.
        live_score: Lowest accepted result of the passive liveness network.
        clock_skew_s: How much a camera's clock may be behind ours [s].
    """

    keep_video_days: float = 30.0
    same_face: Literal["refuse", "flag"] = "refuse"
    passive_liveness: Literal["when_installed", "required"] = "when_installed"
    age_check: AgeCheck | None = None
    replay_likeness: float = 0.95
    screen_pattern: float = 2.0
    live_score: float = 0.8
    clock_skew_s: float = 300.0

    def __post_init__(self) -> None:
        for name in ("keep_video_days", "replay_likeness", "screen_pattern", "live_score", "clock_skew_s"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"expected {name} to be 0 or more, got {value}")
        if self.keep_video_days > _LONGEST_DAYS:
            raise ValueError(f"expected keep_video_days of at most {_LONGEST_DAYS}, got {self.keep_video_days:g}")
        if self.same_face not in {"refuse", "flag"}:
            raise ValueError(f"expected same_face refuse or flag, got {self.same_face!r}")
        if self.passive_liveness not in {"when_installed", "required"}:
            raise ValueError(f"expected passive_liveness when_installed or required, got {self.passive_liveness!r}")
