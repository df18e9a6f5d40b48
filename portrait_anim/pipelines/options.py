"""What a caller can choose about one animation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from portrait_anim.pipelines.xportrait2_options import PRESETS, Preset, SamplingOptions
from portrait_anim.types import ALL_REGIONS, Region

MotionMode = Literal["relative", "absolute"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AnimationOptions:
    """Choices for one animation; the same object serves the API, the command line, scenes and the demo.

    Attributes:
        motion: `"relative"` adds to the portrait what changes since the driver's frame that is most like it;
            `"absolute"` copies the driver's expression and head pose. `lite` enlarges in both what it reads too small
            of living faces (`transfer.LIVING_GAIN`).
        expression_gain: Factor on expression, 0 to 3; 1 copies, above 1 exaggerates.
        pose_gain: Factor on head rotation and movement, 0 to 2.
        regions: Parts of the face that follow the driver; the rest stays as in the portrait.
        size_px: Side of the generated face crop [px], a multiple of 64, 128 to 1024.
        num_steps: Denoising steps, 1 to 50.
        seed: Seed of every random draw; same seed, same frames.
        crop_only: Write the square face crop instead of the full frame.
        face: Which face of the portrait: `"largest"`, `"left"`, `"right"` or a number from the left.
            `None` takes the only one and refuses to guess between several.
        driving_face: The same for the driving clip.
        smoothing: Temporal smoothing of the motion, 0 (none) to 1 (strong).
        sampling: How the profile `xportrait2` denoises, apart from steps and seed; `None` is the published way. Other
            profiles ignore it.
    """

    motion: MotionMode = "relative"
    expression_gain: float = 1.0
    pose_gain: float = 1.0
    regions: tuple[Region, ...] = ALL_REGIONS
    size_px: int = 256
    num_steps: int = 2
    seed: int = 0
    crop_only: bool = False
    face: str | None = None
    driving_face: str | None = None
    smoothing: float = 0.5
    sampling: SamplingOptions | None = None

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
            ValueError: If a value is out of range, naming the range.
        """
        if self.motion not in ("relative", "absolute"):
            raise ValueError(f"motion must be 'relative' or 'absolute', got {self.motion!r}")
        _check_range("expression_gain", self.expression_gain, 0.0, 3.0)
        _check_range("pose_gain", self.pose_gain, 0.0, 2.0)
        _check_range("smoothing", self.smoothing, 0.0, 1.0)
        _check_range("num_steps", self.num_steps, 1, 50)
        _check_range("size_px", self.size_px, 128, 1024)
        if self.size_px % 64:
            raise ValueError(f"size_px must be a multiple of 64, got {self.size_px}")
        unknown = [region for region in self.regions if region not in ALL_REGIONS]
        if unknown:
            raise ValueError(f"regions must be among {', '.join(ALL_REGIONS)}; got {', '.join(unknown)}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be from 0 to 2**63 - 1, got {self.seed}")


def preset_options(preset: Preset, **choices: Any) -> AnimationOptions:
    """Choices for one animation with the profile `xportrait2`, beginning with a preset.

    Args:
        preset: `"exact"`, `"fast"` or `"stream"`.
        choices: Other fields of `AnimationOptions`.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be among {', '.join(PRESETS)}; got {preset!r}")
    sampling = PRESETS[preset]
    return AnimationOptions(**{"num_steps": sampling.num_steps, "size_px": 512, "sampling": sampling, **choices})


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} must be from {low} to {high}, got {value}")
