"""Choices that only the `xportrait2` profile knows. Importing this does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from portrait_anim.pipelines.context import WindowPlan

Solver: TypeAlias = Literal["ddim", "dpm++", "unipc"]
Decoder: TypeAlias = Literal["full", "tiny"]
Preset: TypeAlias = Literal["exact", "fast", "stream"]
Precision: TypeAlias = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingOptions:
    """How to denoise; the defaults are the published settings.

    Attributes:
        num_steps: Scheduler steps.
        guidance: How far to go from the unconditional prediction to the conditional one and beyond; 1 is the latter.
        plan: Context windows.
        seed: Seed of noise and window offsets.
        solver: Which differential equation solver makes the steps; others than DDIM need fewer.
        guided: Part of the steps, from 0 to 1, in which guidance is applied; in the others the conditional row is
            taken as it is, which halves their cost.
        cache_every: In every such step the whole network is computed, in the others only its outermost blocks; 1
            computes everything always.
        cache_blocks: How many blocks these are, see `FeatureCache`.
        stream: Finish one window after the other in order of time, each continuing the one before. Memory and the
            time to the first frame then do not depend on the length of the clip; its end never meets its start.
        overlap: Denoise a window while the one before is decoded; only with `stream`. It takes the memory of both at
            once and helps where neither fills the device.
        head_placement: Tell the networks how the driver's head moves and grows in its picture. They were trained with
            it, the published script never does it.
        decoder: `"full"` is the published one; `"tiny"` needs the optional preview decoder and shows drafts.
    """

    num_steps: int = 35
    guidance: float = 2.5
    plan: WindowPlan = field(default_factory=WindowPlan)
    seed: int = 42
    solver: Solver = "ddim"
    guided: tuple[float, float] = (0.0, 1.0)
    cache_every: int = 1
    cache_blocks: int = 3
    stream: bool = False
    overlap: bool = False
    head_placement: bool = False
    decoder: Decoder = "full"

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
            ValueError: If a value is out of range, naming the range.
        """
        if self.num_steps < 1:
            raise ValueError(f"expected at least one step, got {self.num_steps}")
        if self.solver not in get_args(Solver):
            raise ValueError(f"expected a solver among {', '.join(get_args(Solver))}, got {self.solver!r}")
        if self.decoder not in get_args(Decoder):
            raise ValueError(f"expected a decoder among {', '.join(get_args(Decoder))}, got {self.decoder!r}")
        if not 0 <= self.guided[0] <= self.guided[1] <= 1:
            raise ValueError(f"expected a part of the steps within 0 to 1, got {self.guided}")
        if self.cache_every < 1:
            raise ValueError(f"expected to compute the whole network every 1 or more steps, got {self.cache_every}")
        if not 1 <= self.cache_blocks <= 3:
            raise ValueError(f"expected 1 to 3 blocks to compute in every step, got {self.cache_blocks}")

        if self.overlap and not self.stream:
            raise ValueError("expected stream=True with overlap=True, as otherwise all windows are ready together")

    def is_guided(self, step: int) -> bool:
        """Whether guidance is applied in step number `step`."""
        return self.guidance != 1 and self.guided[0] <= step / self.num_steps < self.guided[1]

    def is_whole(self, step: int) -> bool:
        """Whether the whole network is computed in step number `step`."""
        return step % self.cache_every == 0


PRESETS: Final[dict[Preset, SamplingOptions]] = {
    "exact": SamplingOptions(),
    "fast": SamplingOptions(
        num_steps=10, solver="dpm++", guided=(0.0, 0.5), cache_every=2, cache_blocks=1, plan=WindowPlan(closed=False)
    ),
    "stream": SamplingOptions(plan=WindowPlan(closed=False), stream=True),
}
"""Named choices: the published settings; the fast one, chosen from the table in docs/XPORTRAIT2.md; any length."""
