"""Our networks against tensors recorded from the published code, both filled by `xportrait2_rule`.

    python -m portrait_anim.evaluation.xportrait2_parity FOLDER [FILE ...]

Golden files (`*.npz`) are known by the arrays they hold, not by their names: any size, number of frames, steps, window,
offsets and seed will do. Each line that is printed is one comparison; the exit code is 1 if any is beyond its limit.
One network is in memory at a time.

Shapes: T frames, L motion tokens, h side of a latent, S side of a picture.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import DDIMScheduler

from portrait_anim.errors import InputError
from portrait_anim.evaluation.xportrait2_golden import (
    WHOLE,
    Arrays,
    Comparison,
    Golden,
    check_latent_codec,
    check_motion_encoder,
    check_reference_unet,
    check_schedule,
    load,
)
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


def read_arrays(path: Path) -> Arrays:
    """Arrays of a golden file; nothing in it is executed.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError) as error:
        raise InputError(f"expected a golden file (.npz), cannot read {path}: {error}") from error


@torch.inference_mode()
def check_denoiser(golden: Golden, folder: Path) -> Iterator[Comparison]:
    """Noise of one window, whole and with modules switched off."""
    exact, stored = _portrait_features(golden, folder)
    unet = load("denoising_unet")
    token = golden.tensor("clip_embed").reshape(-1, unet.config.context_dim)[:1]
    blind = unet.condition(torch.zeros_like(token), None, golden.tensor("motion_uncond"))
    motion = golden.tensor("motion_cond").flatten(0, -3)
    for key, off in _SWITCHED_OFF.items():
        features = exact if key.endswith("bank_fp32") else stored
        if key in golden.arrays and features:
            with _switched_off(unet, off):
                rows = [blind, unet.condition(token, features, motion)]
                yield from golden.compare(key, unet(golden.tensor("sample")[0], golden.tensor("t").reshape(()), rows))


def _portrait_features(golden: Golden, folder: Path) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Features of the portrait in forward order, as computed and as kept in 16 bits."""
    unet = load("reference_unet")
    token = golden.tensor("clip_embed").reshape(-1, unet.config.context_dim)[:1]
    latent = torch.from_numpy(_find_latent(golden, folder))
    exact = list(unet(latent[:1], token))
    return exact, [tap.half().float() for tap in exact]


def _find_latent(golden: Golden, folder: Path) -> Any:
    """The portrait's latent, from the file itself or from one about the same portrait at the same size."""
    if "ref_latent" in golden.arrays:
        return golden.arrays["ref_latent"]
    for path in sorted(folder.glob("*.npz")):
        arrays = read_arrays(path)
        if "ref_latent" in arrays and "clip_embed" in arrays:
            same_size = arrays["ref_latent"].shape[-2:] == golden.arrays["sample"].shape[-2:]
            if same_size and np.array_equal(arrays["clip_embed"].ravel(), golden.arrays["clip_embed"].ravel()):
                return arrays["ref_latent"]
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
    arrays = golden.arrays
    picture, size = arrays["ref_u8"], arrays["noise"].shape[-1] * 8
    yield from golden.compare("ref_tensor", portrait_tensor(picture, size))
    token = encode_image(load("image_encoder"), picture)
    yield from golden.compare("clip_embed", token)
    encoder = load("motion_encoder")
    still, motion = encode_motion(encoder, [arrays["refpose_u8"]]), encode_motion(encoder, list(arrays["driving_u8"]))
    del encoder
    yield from golden.compare("motion_uncond", still)
    latent = encode_portrait(load("vae"), picture, size)
    yield from golden.compare("ref_latent", latent)
    yield from golden.compare("ref_latent_blurred", blur_latent(latent))
    taps = tuple(tap.half().float() for tap in load("reference_unet")(latent, token))
    unet = load("denoising_unet")
    calls = _Calls(golden, unet)
    options = SamplingOptions(
        num_steps=int(arrays["steps"]), guidance=float(arrays["guidance"]),
        plan=WindowPlan(size=int(arrays["context_frames"]), overlap=int(arrays["context_overlap"])),
    )  # fmt: skip
    latents = denoise(
        calls, DDIMScheduler(**DDIM_CONFIG), portrait=latent,
        unconditional=unet.condition(torch.zeros_like(token), None, still),
        conditional=unet.condition(token, taps, motion),
        noise=golden.tensor("noise")[0], offsets=arrays["offsets"].tolist(), options=options,
    )  # fmt: skip
    del unet
    calls.forget_network()
    yield from golden.compare("t_per_call", torch.tensor(calls.timesteps), 1e-12)
    yield from calls.comparisons
    yield from golden.compare("final_latents", latents, WHOLE)
    if "video" in arrays:
        yield from golden.compare("video", torch.cat(list(decode_frames(load("vae"), latents))).transpose(0, 1), WHOLE)


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
                want = self._golden.tensor(key)[number].squeeze()
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
        for line in check_file(path):
            passed = passed and line.passed
            sys.stdout.write(json.dumps({**asdict(line), "passed": line.passed}) + "\n")
            sys.stdout.flush()
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
