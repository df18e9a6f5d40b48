"""Denoising of the `xportrait2` profile: start from the blurred portrait, guidance, windows, scheduler steps.

Shapes: R guidance rows, T frames, h side of a latent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, get_args

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

from portrait_anim.models.xportrait2.denoising_unet import RowCondition
from portrait_anim.pipelines.context import WindowPlan, average_windows

_BLUR_SIDE = 9
_BLUR_SIGMA = 18.0  # so wide that the kernel is nearly a box


Solver: TypeAlias = Literal["ddim", "dpm++", "unipc"]


class NoisePredictor(Protocol):
    """The denoising UNet, or something that calls it."""

    def __call__(self, sample: torch.Tensor, timestep: torch.Tensor, rows: Sequence[RowCondition]) -> torch.Tensor:
        """Predict noise `(R, 4, T, h, h)` for a window `(4, T, h, h)`."""
        ...


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
    """

    num_steps: int = 35
    guidance: float = 2.5
    plan: WindowPlan = field(default_factory=WindowPlan)
    seed: int = 42
    solver: Solver = "ddim"
    guided: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.solver not in get_args(Solver):
            raise ValueError(f"expected a solver among {', '.join(get_args(Solver))}, got {self.solver!r}")
        if not 0 <= self.guided[0] <= self.guided[1] <= 1:
            raise ValueError(f"expected a part of the steps within 0 to 1, got {self.guided}")

    def is_guided(self, step: int) -> bool:
        """Whether guidance is applied in step number `step`."""
        return self.guidance != 1 and self.guided[0] <= step / self.num_steps < self.guided[1]


def blur_latent(latent: torch.Tensor) -> torch.Tensor:
    """Blur a latent `(B, 4, h, h)` with a 9 x 9 Gaussian of sigma 18, mirrored at the borders."""
    x = torch.arange(_BLUR_SIDE, device=latent.device, dtype=latent.dtype) - _BLUR_SIDE // 2
    kernel = torch.exp(-0.5 * (x / _BLUR_SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    channels = latent.shape[1]
    weight = (kernel[:, None] * kernel[None]).expand(channels, 1, -1, -1)
    padded = F.pad(latent, [_BLUR_SIDE // 2] * 4, mode="reflect")
    return F.conv2d(padded, weight, groups=channels)


def draw_noise(shape: Sequence[int], seed: int) -> torch.Tensor:
    """Draw the noise of a clip on the CPU, so that it is the same on every device."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


def draw_offsets(options: SamplingOptions, num_frames: int) -> list[int]:
    """Draw the window offset of every step; none is needed when one window holds the clip."""
    if num_frames <= options.plan.size:
        return [0] * options.num_steps
    generator = torch.Generator().manual_seed(options.seed)
    return torch.randint(options.plan.size, (options.num_steps,), generator=generator).tolist()


@torch.inference_mode()
def denoise(
    predict: NoisePredictor,
    scheduler: DDIMScheduler,
    *,
    portrait: torch.Tensor,
    unconditional: RowCondition,
    conditional: RowCondition,
    noise: torch.Tensor,
    offsets: Sequence[int],
    options: SamplingOptions,
    on_window: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """Turn noise into the latents of a clip.

    Args:
        predict: Denoising UNet.
        scheduler: The published schedule.
        portrait: Latent of the portrait `(1, 4, h, h)`, scaled; its blurred copy is the start of every frame.
        unconditional: Row without portrait, moved as the portrait itself.
        conditional: Row with portrait, moved as the driver.
        noise: `(4, T, h, h)`.
        offsets: Window offset per step.
        options: Steps, guidance, windows.
        on_window: Called before each window with windows done and windows in all; raise in it to stop.

    Returns:
        `(4, T, h, h)` float32.
    """
    num_frames = noise.shape[1]
    device, dtype = portrait.device, conditional.image[0].dtype
    solver = make_solver(scheduler, options.solver)
    solver.set_timesteps(options.num_steps)  # stays on the CPU: its arithmetic then never waits for the device
    plans = [options.plan.windows(num_frames, offset) for offset in offsets]
    total = sum(map(len, plans))
    start = blur_latent(portrait.float())[0][:, None].expand(-1, num_frames, -1, -1)
    latents = scheduler.add_noise(start, noise.to(device, torch.float32), solver.timesteps[:1])
    done = 0
    for step, (timestep, windows) in enumerate(zip(solver.timesteps, plans, strict=True)):
        rows = [unconditional, conditional] if options.is_guided(step) else [conditional]
        predictions = []
        for window in windows:
            if on_window:
                on_window(done, total)
            index = torch.as_tensor(window, device=device)
            predicted = predict(latents[:, index].to(dtype), timestep.to(device), [row.frames(index) for row in rows])
            predictions.append(_guide(predicted.float(), options.guidance))
            done += 1
        whole = average_windows(predictions, windows, num_frames)
        latents = solver.step(whole, timestep, latents, return_dict=False)[0]
    out: torch.Tensor = latents
    return out


def make_solver(scheduler: DDIMScheduler, name: Solver) -> Any:
    """A solver over the same noise schedule; DDIM is the scheduler itself."""
    if name == "ddim":
        return scheduler
    config = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
    shared = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type", "timestep_spacing",
              "steps_offset")  # fmt: skip
    kind = DPMSolverMultistepScheduler if name == "dpm++" else UniPCMultistepScheduler
    return kind(**{key: config[key] for key in shared})


def _guide(predicted: torch.Tensor, guidance: float) -> torch.Tensor:
    """Combine the rows `(R, 4, T, h, h)` into one prediction."""
    if len(predicted) == 1:
        return predicted[0]
    out: torch.Tensor = predicted[0] + guidance * (predicted[1] - predicted[0])
    return out
