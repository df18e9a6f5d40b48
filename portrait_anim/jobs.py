"""What is asked of the studio, and what it gives back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from portrait_anim.errors import MediaError
from portrait_anim.provenance.verify import VerificationReport


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderJob:
    """What to render, apart from how (`AnimationOptions`).

    Attributes:
        portrait: Picture, or a video whose frame `portrait_frame` is taken.
        driving: Driving clip, driving picture, or motion file.
        cameo: Id of the enrolled cameo that the portrait shows.
        output: MP4 file to write.
        grantee: Who renders; must be the grantee of a grant.
        purpose: What for; must be allowed by the grant.
        context: Scene or context; must be allowed by the grant.
        audio: `"driver"`, `"none"`, or a file with sound.
        start_s: Start within the driving clip [s].
        end_s: End within the driving clip [s]; `None` is its end.
        fps: Output frame rate [1/s]; `None` keeps the driver's.
        portrait_frame: Frame number when the portrait is a video.
        compare: Put driver and source beside the result.
        sheet: Write a contact sheet to this PNG.
        profile: Model profile.
    """

    portrait: Path
    driving: Path
    cameo: str
    output: Path
    grantee: str = "operator"
    purpose: str = ""
    context: str = "animate"
    audio: str = "driver"
    start_s: float = 0.0
    end_s: float | None = None
    fps: Fraction | None = None
    portrait_frame: int = 0
    compare: bool = False
    sheet: Path | None = None
    profile: str = "lite"


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderResult:
    """A finished, signed file.

    Attributes:
        path: The MP4.
        sha256: Its checksum.
        cameo_id: Whose likeness.
        grant_id: Under which permission.
        permit_id: By which authorisation.
        ledger_row: Sequence number of its ledger record.
        num_frames: Frames written.
        lost_frames: Frames in which the driver's face was not seen (motion was held).
        fps: Frame rate [1/s].
        seed: Seed used.
        verification: What `verify` says about the file.
        sheet: Contact sheet, when asked for.
    """

    path: Path
    sha256: str
    cameo_id: str
    grant_id: str
    permit_id: str
    ledger_row: int
    num_frames: int
    lost_frames: int
    fps: Fraction
    seed: int
    verification: VerificationReport
    sheet: Path | None = None


def check_output(job: RenderJob) -> None:
    """Refuse outputs that could not be written, before any work is done.

    Args:
        job: What is to be rendered.

    Raises:
        MediaError: If a name has another ending than its kind, or its folder cannot be written.
    """
    targets = [(job.output, (".mp4", ".m4v"))] + ([(job.sheet, (".png",))] if job.sheet else [])
    for path, suffixes in targets:
        if path.suffix.lower() not in suffixes:
            raise MediaError(f"expected an output name ending in {suffixes[0]}, got {path.name}; rename it")
        if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise MediaError(f"expected a file in a folder that can be written, got {path}; choose another place")
