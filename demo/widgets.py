"""The widgets of the page by name, so that layout and wiring can be apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class InputWidgets:
    """One input card: a file, the face found in it, and which face was chosen."""

    source: Any
    sample: Any
    view: Any
    message: Any
    face: Any
    usable: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class CameoWidgets:
    """The consent card: enrolled cameos, both ways to enrol, and permissions."""

    tabs: Any
    cameo: Any
    about: Any
    fictional_name: Any
    statement: Any
    enrol_fictional: Any
    real_name: Any
    adult: Any
    issue: Any
    steps: Any
    recorder: Any
    challenge_video: Any
    verify: Any
    results: Any
    challenge: Any
    permission: Any
    grants: Any
    use_row: Any
    grant_choice: Any
    revoke: Any
    new_grant: Any
    purpose: Any
    seconds: Any
    renders: Any
    hours: Any
    give: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionWidgets:
    """The card of options and the buttons below it."""

    profile: Any
    profile_note: Any
    preset: Any
    motion: Any
    expression_gain: Any
    pose_gain: Any
    regions: Any
    num_steps: Any
    size_px: Any
    seed: Any
    audio: Any
    audio_file: Any
    compare: Any
    crop_only: Any
    smoothing: Any
    start_s: Any
    end_s: Any
    generate: Any
    cancel: Any
    hint: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultWidgets:
    """The result card: progress while it is made, then the video and what is known about it."""

    status: Any
    preview: Any
    finished: Any
    video: Any
    download: Any
    findings: Any
    record: Any
    sheet: Any
