"""Our networks against tensors recorded from the published code, both filled by `xportrait2_rule`.

    python -m portrait_anim.evaluation.xportrait2_parity FOLDER [FILE ...]

Golden files (`*.npz`) are known by the arrays they hold, not by their names: any size, number of frames, steps, window,
offsets and seed will do. Each line that is printed is one comparison; the exit code is 1 if any is beyond its limit, or
if a file cannot be used, which is told on standard error.
One network is in memory at a time.

Shapes: T frames, L motion tokens, h side of a latent, S side of a picture.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import DDIMScheduler

from portrait_anim.errors import InputError
from portrait_anim.evaluation.xportrait2_golden import (
    check_latent_codec,
    check_motion_encoder,
    check_reference_unet,
    check_schedule,
    image_token,
    load,
    motion_tokens,
    portrait_latent,
    window_latents,
)
from portrait_anim.evaluation.xportrait2_golden_file import WHOLE, Comparison, Golden, read_arrays
from portrait_anim.models.xportrait2.adapter import DDIM_CONFIG
from portrait_anim.pipelines.context import WindowPlan
from portrait_anim.pipelines.xportrait2_inputs import (
    decode_frames,
    encode_image,
    encode_motion,
    encode_portrait,
    portrait_tensor,
)
from portrait_anim.pipelines.xportrait2_options import SamplingOptions
from portrait_anim.pipelines.xportrait2_sampling import blur_latent, denoise
from portrait_anim.types import UInt8Array

_SWITCHED_OFF: Final = {
    "eps_full": (), "eps_no_temporal": ("temporal_modules",), "eps_no_motion": ("motion_modules",),
    "eps_no_motion_no_temporal": ("motion_modules", "temporal_modules"), "eps_full_bank_fp32": (),
}  # fmt: skip


def check_file(path: Path) -> Iterator[Comparison]:
    """Compare everything that a golden file holds.

    Args:
        path: The file. For a denoiser, the features of the portrait may lie in another golden file of its folder.

    Yields:
        Comparisons as they are made.

    Raises:
        InputError: If the file holds nothing known.
    """
    golden = Golden(path.name, read_arrays(path))
    known = golden.arrays.keys()
    checks: dict[str, Callable[[], Iterator[Comparison]]] = {
        "video": lambda: check_pipeline(golden),
        "final_latents": lambda: check_pipeline(golden),
        "eps_full": lambda: check_denoiser(golden, path.parent),
        "crops_u8": lambda: check_motion_encoder(golden),
        "tap00_cond_stats": lambda: check_reference_unet(golden),
        "enc_mean": lambda: check_latent_codec(golden),
        "latents": lambda: check_latent_codec(golden),
        "step_t": lambda: check_schedule(golden),
    }
    for key, check in checks.items():
        if key in known:
            yield from check()
            return
    raise InputError(f"expected a golden file with one of {', '.join(checks)}, got {path.name} with {', '.join(known)}")


@torch.inference_mode()
def check_denoiser(golden: Golden, folder: Path) -> Iterator[Comparison]:
    """Noise of one window, whole and with modules switched off."""
    token, sample, timestep = image_token(golden), window_latents(golden), torch.tensor(golden.number("t"))
    still, motion = motion_tokens(golden, "motion_uncond", 1), motion_tokens(golden, "motion_cond", sample.shape[1])
    exact, stored = _portrait_features(golden, folder)
    unet = load("denoising_unet")
    blind = unet.condition(torch.zeros_like(token), None, still)
    for key, off in _SWITCHED_OFF.items():
        features = exact if key.endswith("bank_fp32") else stored
        if key in golden.arrays:
            with _switched_off(unet, off):
                rows = [blind, unet.condition(token, features, motion)]
                yield from golden.compare(key, unet(sample, timestep, rows))


def _portrait_features(golden: Golden, folder: Path) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Features of the portrait in forward order, as computed and as kept in 16 bits."""
    latent = portrait_latent(_with_latent(golden, folder))
    exact = list(load("reference_unet")(latent, image_token(golden)))
    return exact, [tap.half().float() for tap in exact]


def _with_latent(golden: Golden, folder: Path) -> Golden:
    """The file itself if it holds the portrait's latent, else one about the same portrait at the same size."""
    if "ref_latent" in golden.arrays:
        return golden
    token, size = image_token(golden).numpy().ravel(), window_latents(golden).shape[-2:]
    for path in sorted(folder.glob("*.npz")):
        other = Golden(path.name, read_arrays(path))
        if {"ref_latent", "clip_embed"} <= other.arrays.keys():
            same = np.array_equal(other.arrays["clip_embed"].ravel(), token)
            if same and other.arrays["ref_latent"].shape[-2:] == size:
                return other
    raise InputError(f"expected 'ref_latent' in {golden.name} or a file about the same portrait beside it, got none")


@contextmanager
def _switched_off(network: torch.nn.Module, kinds: Sequence[str]) -> Iterator[None]:
    """Make modules the identity, as before their training, for a while."""
    kept = {
        tensor: tensor.clone()
        for name, tensor in network.named_parameters()
        if ".proj_out." in name and any(kind in name for kind in kinds)
    }
    for tensor in kept:
        tensor.data.zero_()
    try:
        yield
    finally:
        for tensor, before in kept.items():
            tensor.data.copy_(before)


@torch.inference_mode()
def check_pipeline(golden: Golden) -> Iterator[Comparison]:
    """The whole pipeline from pictures to pictures, and everything on the way."""
    given = _Given.of(golden)
    yield from golden.compare("ref_tensor", portrait_tensor(given.portrait, given.size_px))
    token = encode_image(load("image_encoder"), given.portrait)
    yield from golden.compare("clip_embed", token)
    encoder = load("motion_encoder")
    still, motion = encode_motion(encoder, [given.face]), encode_motion(encoder, given.driving)
    del encoder
    yield from golden.compare("motion_uncond", still)
    latent = encode_portrait(load("vae"), given.portrait, given.size_px)
    yield from golden.compare("ref_latent", latent)
    yield from golden.compare("ref_latent_blurred", blur_latent(latent))
    taps = tuple(tap.half().float() for tap in load("reference_unet")(latent, token))
    unet = load("denoising_unet")
    calls = _Calls(golden, unet)
    latents = denoise(
        calls, DDIMScheduler(**DDIM_CONFIG), portrait=latent,
        unconditional=unet.condition(torch.zeros_like(token), None, still),
        conditional=unet.condition(token, taps, motion), noise=given.noise, offsets=given.offsets,
        options=given.options,
    )  # fmt: skip
    del unet
    calls.forget_network()
    yield from golden.compare("t_per_call", torch.tensor(calls.timesteps), 1e-12)
    yield from calls.comparisons
    yield from golden.compare("final_latents", latents, WHOLE)
    if "video" in golden.arrays:
        yield from golden.compare("video", torch.cat(list(decode_frames(load("vae"), latents))).transpose(0, 1), WHOLE)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Given:
    """What a recorded run of the pipeline was given.

    Attributes:
        portrait: Portrait crop `(S', S', 3)` uint8 sRGB.
        face: The portrait's own face crop.
        driving: Face crops of the driver.
        noise: `(4, T, h, h)`.
        offsets: Window offset per step.
        options: Steps, guidance, windows.
    """

    portrait: UInt8Array
    face: UInt8Array
    driving: list[UInt8Array]
    noise: torch.Tensor
    offsets: list[int]
    options: SamplingOptions

    @property
    def size_px(self) -> int:
        """Side of the output [px]."""
        return int(self.noise.shape[-1]) * 8

    @classmethod
    def of(cls, golden: Golden) -> _Given:
        """Read a golden file.

        Raises:
            InputError: If something is absent or cannot be.
        """
        noise, num_steps = golden.numbers("noise", 1, 4, None, None, None)[0], golden.number("steps", 1)
        if noise.shape[-2] != noise.shape[-1]:
            raise InputError(
                f"expected square 'noise' in {golden.name}, got {tuple(noise.shape[-2:])}; record it again"
            )
        try:
            plan = WindowPlan(size=golden.number("context_frames", 1), overlap=golden.number("context_overlap"))
        except ValueError as error:
            raise InputError(f"{error}, in {golden.name}; record it again") from error
        return cls(
            portrait=golden.pictures("ref_u8", None, None), face=golden.pictures("refpose_u8", None, None),
            driving=list(golden.pictures("driving_u8", noise.shape[1], None, None)), noise=noise,
            offsets=[int(offset) for offset in golden.numbers("offsets", num_steps)],
            options=SamplingOptions(num_steps=num_steps, guidance=float(golden.numbers("guidance")), plan=plan),
        )  # fmt: skip


class _Calls:
    """Calls of the denoising UNet, each compared with the recorded one."""

    def __init__(self, golden: Golden, unet: Any) -> None:
        self._golden, self._unet = golden, unet
        self.comparisons: list[Comparison] = []
        self.timesteps: list[int] = []

    def __call__(self, sample: torch.Tensor, timestep: torch.Tensor, rows: Any, cache: Any = None) -> torch.Tensor:
        out: torch.Tensor = self._unet(sample, timestep, rows, cache)
        number = len(self.timesteps)
        self.timesteps.append(int(timestep))
        for key, tensor in (("sample_per_call", sample), ("eps_per_call", out)):
            if key in self._golden.arrays:
                want = self._golden.recorded(key)[number : number + 1].squeeze()  # empty if it was not recorded
                self.comparisons.append(self._golden.judge(f"{key}[{number}]", tensor.squeeze(), want, WHOLE))
        return out

    def forget_network(self) -> None:
        """Free the memory of the network."""
        self._unet = None


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON object per comparison as it is made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of golden files")
    parser.add_argument("files", nargs="*", help="names of some of them; all by default")
    given = parser.parse_args(arguments)
    paths = [given.folder / name for name in given.files] or sorted(given.folder.glob("*.npz"))
    passed = bool(paths)
    for path in paths:
        try:
            for line in check_file(path):
                passed = passed and line.passed
                sys.stdout.write(json.dumps({**asdict(line), "passed": line.passed}) + "\n")
                sys.stdout.flush()
        except InputError as error:
            passed = False
            sys.stderr.write(f"{error}\n")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
