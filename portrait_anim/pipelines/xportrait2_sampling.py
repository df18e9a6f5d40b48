"""Denoising of the `xportrait2` profile: start from the blurred portrait, windows, scheduler steps.

Shapes: T frames, h side of a latent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

from portrait_anim.pipelines.context import average_windows
from portrait_anim.pipelines.xportrait2_drafts import OnDraft, draft_of
from portrait_anim.pipelines.xportrait2_guidance import GuidedPredictor, NoisePredictor, Row
from portrait_anim.pipelines.xportrait2_options import SamplingOptions, Solver

__all__ = ["SamplingOptions", "blur_latent", "denoise", "draw_noise", "draw_offsets", "make_solver"]

_BLUR_SIDE = 9
_BLUR_SIGMA = 18.0  # so wide that the kernel is nearly a box

OnWindow = Callable[[int, int], None]


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
    """Draw the window offset of every step; none is needed when one window holds the clip.

    Steps that reuse features keep the offset of the step that computed them, as features belong to frames.
    """
    if num_frames <= options.plan.size:
        return [0] * options.num_steps
    generator = torch.Generator().manual_seed(options.seed)
    drawn = torch.randint(options.plan.size, (options.num_steps,), generator=generator).tolist()
    return [drawn[step - step % options.cache_every] for step in range(options.num_steps)]


@torch.inference_mode()
def denoise(
    predict: NoisePredictor,
    scheduler: DDIMScheduler,
    *,
    portrait: torch.Tensor,
    unconditional: Row,
    conditional: Row,
    noise: torch.Tensor,
    offsets: Sequence[int],
    options: SamplingOptions,
    on_window: OnWindow | None = None,
    on_draft: OnDraft | None = None,
) -> torch.Tensor:
    """Turn noise into the latents of a clip, all windows of a step before the next step.

    Args:
        predict: Denoising UNet.
        scheduler: The published schedule.
        portrait: Latent of the portrait `(1, 4, h, h)`, scaled; its blurred copy is the start of every frame.
        unconditional: Row without portrait, moved as the portrait itself.
        conditional: Row with portrait, moved as the driver.
        noise: `(4, T, h, h)`.
        offsets: Window offset per step.
        options: Steps, guidance, windows.
        on_window: Called before each window and at the end with windows done and windows in all; raise in it to stop.
        on_draft: Told after each step how the middle of the clip will look.

    Returns:
        `(4, T, h, h)` float32.
    """
    num_frames, device = noise.shape[1], portrait.device
    solver = make_solver(scheduler, options.solver)
    solver.set_timesteps(options.num_steps)  # stays on the CPU: its arithmetic then never waits for the device
    plans = [options.plan.windows(num_frames, offset) for offset in offsets]
    total = sum(map(len, plans))
    latents = start_latents(scheduler, portrait, noise, solver.timesteps[:1])
    predictor = GuidedPredictor(predict, unconditional, conditional, options)
    done = 0
    for step, (timestep, windows) in enumerate(zip(solver.timesteps, plans, strict=True)):
        predictions = []
        for slot, window in enumerate(windows):
            if on_window:
                on_window(done, total)
            index = torch.as_tensor(window, device=device)
            predictions.append(predictor(latents[:, index], timestep, index, step=step, slot=slot))
            done += 1
        whole = average_windows(predictions, windows, num_frames)
        if on_draft:
            middle = num_frames // 2
            where = {"place": middle, "frame": middle, "step": step, "num_steps": options.num_steps}
            on_draft(draft_of(scheduler, latents, whole, timestep, **where))
        latents = solver.step(whole, timestep, latents, return_dict=False)[0]
    if on_window:
        on_window(total, total)
    out: torch.Tensor = latents
    return out


def start_latents(
    scheduler: DDIMScheduler, portrait: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor
) -> torch.Tensor:
    """The blurred portrait in every frame, noised.

    Args:
        scheduler: The published schedule.
        portrait: `(1, 4, h, h)`.
        noise: `(4, T, h, h)`.
        timestep: First timestep `(1,)`.

    Returns:
        `(4, T, h, h)` float32.
    """
    start = blur_latent(portrait.float())[0][:, None].expand(-1, noise.shape[1], -1, -1)
    out: torch.Tensor = scheduler.add_noise(start, noise.to(portrait.device, torch.float32), timestep)
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
