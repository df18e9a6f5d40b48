"""Denoising of the `xportrait2` profile one window after the other: any length in the same memory.

A window is taken through all steps before the next one begins. The frames that it shares with its successor are
remembered as they were at every step; the successor puts them in their places at each step, so that its new frames
grow beside frames that are already decided.

Shapes: T frames of the clip, T_new frames that a window adds, h side of a latent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from diffusers import DDIMScheduler

from portrait_anim.pipelines.xportrait2_drafts import OnDraft, draft_of
from portrait_anim.pipelines.xportrait2_guidance import GuidedPredictor, NoisePredictor, Row
from portrait_anim.pipelines.xportrait2_options import SamplingOptions
from portrait_anim.pipelines.xportrait2_sampling import OnWindow, make_solver, start_latents

_SKIP_AT_ONCE = 2**20


class NoiseStream:
    """The noise that `draw_noise` would draw for the whole clip, a few frames at a time.

    Args:
        shape: `(4, T, h, h)`, h a multiple of 4.
        seed: Seed.
    """

    def __init__(self, shape: Sequence[int], seed: int) -> None:
        channels, self._num_frames, *self._size = shape
        per_frame = self._size[0] * self._size[1]
        if per_frame % 16:
            # torch draws normal numbers in groups of 16; other sizes would not be the same numbers.
            raise ValueError(f"expected latents whose sides are multiples of 4, got {tuple(self._size)}")
        self._generators = []
        for channel in range(channels):
            generator = torch.Generator().manual_seed(seed)
            for first in range(0, channel * self._num_frames * per_frame, _SKIP_AT_ONCE):
                torch.randn(min(_SKIP_AT_ONCE, channel * self._num_frames * per_frame - first), generator=generator)
            self._generators.append(generator)

    def take(self, count: int) -> torch.Tensor:
        """Noise of the next frames `(4, count, h, h)` float32."""
        return torch.stack([torch.randn(count, *self._size, generator=g) for g in self._generators])


@torch.inference_mode()
def denoise_stream(
    predict: NoisePredictor,
    scheduler: DDIMScheduler,
    *,
    portrait: torch.Tensor,
    unconditional: Row,
    conditional: Row,
    noise: NoiseStream,
    num_frames: int,
    options: SamplingOptions,
    on_window: OnWindow | None = None,
    on_draft: OnDraft | None = None,
) -> Iterator[torch.Tensor]:
    """Turn noise into the latents of a clip, window by window; a clip of one window becomes what `denoise` makes of it.

    Args:
        predict: Denoising UNet.
        scheduler: The published schedule.
        portrait: Latent of the portrait `(1, 4, h, h)`, scaled.
        unconditional: Row without portrait, moved as the portrait itself.
        conditional: Row with portrait, moved as the driver.
        noise: Noise of the clip.
        num_frames: T.
        options: Steps, guidance, size and overlap of windows; whether the plan is closed does not matter.
        on_window: Called before each call of the network and at the end with calls done and calls in all; raise in
            it to stop.
        on_draft: Told after each step how the middle of the new frames will look.

    Yields:
        `(4, T_new, h, h)` float32, in order of time.
    """
    solver = make_solver(scheduler, options.solver)
    windows = replace(options.plan, closed=False).windows(num_frames)
    predictor = GuidedPredictor(predict, unconditional, conditional, options)
    done, calls, carried = 0, 0, _Trajectory()
    for number, window in enumerate(windows):
        known = max(done - window[0], 0)
        following = windows[number + 1][0] if number + 1 < len(windows) else window[-1] + 1
        record = _Trajectory(first=following - window[0])
        solver.set_timesteps(options.num_steps)
        fresh = start_latents(scheduler, portrait, noise.take(len(window) - known), solver.timesteps[:1])
        index = torch.as_tensor(window, device=portrait.device)
        predictor.forget()
        for step, timestep in enumerate(solver.timesteps):
            if on_window:
                on_window(calls, len(windows) * options.num_steps)
            latents = torch.cat([carried.at(step), fresh], dim=1) if known else fresh
            record.add(latents)
            predicted = predictor(latents, timestep, index, step=step)
            if on_draft:
                middle = (known + len(window)) // 2
                where = {"place": middle, "frame": window[middle], "step": step, "num_steps": options.num_steps}
                on_draft(draft_of(scheduler, latents, predicted, timestep, **where))
            fresh = solver.step(predicted, timestep, latents, return_dict=False)[0][:, known:]
            calls += 1
        done, carried = window[-1] + 1, record
        yield fresh
    if on_window:
        on_window(calls, calls)


class _Trajectory:
    """How the frames from number `first` of a window on entered every step."""

    def __init__(self, first: int = 0) -> None:
        self._first = first
        self._latents: list[torch.Tensor] = []

    def add(self, latents: torch.Tensor) -> None:
        if latents.shape[1] > self._first:
            self._latents.append(latents[:, self._first :].clone())

    def at(self, step: int) -> torch.Tensor:
        return self._latents[step]
