"""Single `xportrait2` networks against tensors recorded from the published code; see `xportrait2_parity`.

Shapes: T frames, L motion tokens, h side of a latent, S side of a picture, N_i tokens and C_i channels of layer i.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DDIMScheduler

from portrait_anim.evaluation.xportrait2_rule import rule_network
from portrait_anim.media.image import resize, to_tensor
from portrait_anim.models.xportrait2.adapter import DDIM_CONFIG
from portrait_anim.pipelines.xportrait2_inputs import decode_frames, portrait_tensor
from portrait_anim.pipelines.xportrait2_lean_decoder import slice_decoder
from portrait_anim.pipelines.xportrait2_sampling import blur_latent

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]

FORWARD: Final = 5e-5
"""Accepted error of one call of a network in 32 bits; the published code itself differs by 3e-6 between kernels."""
WHOLE: Final = 5e-4
"""Accepted error after several steps."""
_ROUNDED: Final = 1e-4  # of arrays stored in 16 bits: values beside a rounding boundary may fall on either side
_STATS: Final = 2  # mean and deviation stand before the values in a recorded summary


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One array of ours beside one that was recorded.

    Attributes:
        file: Golden file.
        array: Its array.
        rms_rel: Root mean square of the difference over that of the recorded array.
        limit: What is accepted.
    """

    file: str
    array: str
    rms_rel: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the error is below the limit; false for anything that is not a number."""
        return self.rms_rel < self.limit


@dataclass(frozen=True, slots=True)
class Golden:
    """One golden file.

    Attributes:
        name: File name.
        arrays: What it holds.
    """

    name: str
    arrays: Arrays

    def tensor(self, key: str) -> torch.Tensor:
        """One array as a tensor."""
        return torch.from_numpy(np.asarray(self.arrays[key]))

    def compare(self, key: str, got: torch.Tensor, limit: float = FORWARD) -> list[Comparison]:
        """Compare with a recorded array, in its own precision; nothing where none was recorded.

        Axes of length 1 do not matter, as some recordings keep the batch and some do not.

        Raises:
            ValueError: If the shapes differ.
        """
        if key not in self.arrays:
            return []
        return [self.judge(key, got.squeeze(), self.tensor(key).squeeze(), limit)]

    def judge(self, what: str, got: torch.Tensor, want: torch.Tensor, limit: float = FORWARD) -> Comparison:
        """Compare with part of a recorded array, in its own precision.

        Raises:
            ValueError: If the shapes differ.
        """
        if got.shape != want.shape:
            raise ValueError(f"expected {what} of {self.name} of shape {tuple(want.shape)}, got {tuple(got.shape)}")
        if want.dtype == torch.float16:
            got, limit = got.half(), max(limit, _ROUNDED)
        wanted, error = want.double(), got.double() - want.double()
        scale = wanted.square().mean().sqrt().clamp(min=1e-12)
        return Comparison(file=self.name, array=what, rms_rel=float(error.square().mean().sqrt() / scale), limit=limit)


def load(name: str) -> Any:
    """One network filled by the rule; the one before is dropped first."""
    gc.collect()
    return rule_network(name)


def face_tensor(crops: npt.NDArray[np.uint8], side: int) -> torch.Tensor:
    """Face crops `(T, H, W, 3)` uint8 as the motion encoder takes them `(T, 3, S, S)`."""
    return to_tensor(np.stack([resize(crop, side, "lanczos") for crop in crops])) * 2 - 1


@torch.inference_mode()
def check_motion_encoder(golden: Golden) -> Iterator[Comparison]:
    """Motion tokens of any number of crops, with and without placement, of crops of odd size too."""
    encoder = load("motion_encoder")
    side, known = encoder.config.sample_size, golden.arrays
    sample = face_tensor(known["crops_u8"], side)
    out = encoder(sample, golden.tensor("bbox") if "bbox" in known else None)
    yield from golden.compare("latent", out.latent)
    yield from golden.compare("latent_5d", out.latent)
    yield from golden.compare("face_feature_512", out.feature)
    if "latent_odd" in known:
        yield from golden.compare("latent_odd", encoder(face_tensor(known["odd_crop_u8"][None], side)).latent)
    if "latent_bbox2" in known:
        placed = golden.tensor("bbox2")
        yield from golden.compare("latent_bbox2", encoder(sample[: len(placed)], placed).latent)


def tap_names(unet: Any) -> list[str]:
    """Names of the spatial transformer blocks in the order in which the published code pairs its features."""
    names = {id(layer): name for name, layer in unet.named_modules()}
    blocks = [(layer.block.norm1.weight.numel(), names[id(layer.block)]) for layer in unet.image_transformers()]
    sides = ("down_blocks", "up_blocks", "mid_block")
    in_order = sorted(blocks, key=lambda block: sides.index(block[1].split(".")[0]))
    return [name for _, name in sorted(in_order, key=lambda block: -block[0])]


def in_tap_order(unet: Any, taps: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """Features in the order of `tap_names` instead of that of the forward pass."""
    names = {id(layer): name for name, layer in unet.named_modules()}
    found = {names[id(layer.block)]: tap for layer, tap in zip(unet.image_transformers(), taps, strict=True)}
    return [found[name] for name in tap_names(unet)]


@torch.inference_mode()
def check_reference_unet(golden: Golden) -> Iterator[Comparison]:
    """Features of the portrait, of both guidance rows."""
    unet = load("reference_unet")
    token = golden.tensor("clip_embed").reshape(-1, unet.config.context_dim)[:1]
    latent = golden.tensor("ref_latent")[:1]
    taps = unet(latent.expand(2, -1, -1, -1), torch.cat([torch.zeros_like(token), token]))
    for index, tap in enumerate(in_tap_order(unet, taps)):
        for row, features in zip(("uncond", "cond"), tap, strict=True):
            whole, summary = f"tap{index:02}_{row}_f16", f"tap{index:02}_{row}_stats"
            yield from golden.compare(whole, features)
            if summary in golden.arrays:
                values = golden.tensor(summary)[_STATS:]
                yield golden.judge(summary, features.flatten()[: len(values)], values)


@torch.inference_mode()
def check_latent_codec(golden: Golden) -> Iterator[Comparison]:
    """Latent of a picture, pictures of latents; chunks of any length, decoded whole and in pieces."""
    vae = load("vae")
    if "enc_mean" in golden.arrays:
        picture = golden.arrays["image_u8"]
        posterior = vae.encode(portrait_tensor(picture, picture.shape[0])).latent_dist
        yield from golden.compare("enc_mean", posterior.mean)
        yield from golden.compare("enc_logvar", posterior.logvar)
    chunks = {key: re.fullmatch(r"video_(?:one_)?chunk(\d+)(?:_f16)?", key) for key in golden.arrays}
    for way in ("", ", in pieces"):
        if way:
            slice_decoder(vae)
        for key, chunk in chunks.items():
            if chunk:
                frames = list(decode_frames(vae, golden.tensor("latents")[0], int(chunk[1])))
                video = torch.cat(frames).transpose(0, 1)[None]
                yield golden.judge(key + way, video, golden.tensor(key))


def check_schedule(golden: Golden) -> Iterator[Comparison]:
    """Steps, noise and blur of the start, without any network."""
    scheduler = DDIMScheduler(**DDIM_CONFIG)
    scheduler.set_timesteps(len(golden.arrays["step_t"]))
    yield golden.judge("step_t", scheduler.timesteps, golden.tensor("step_t"), 1e-12)
    sample, noise = golden.tensor("x"), golden.tensor("eps")
    stepped = [scheduler.step(noise, t, sample, return_dict=False)[0] for t in scheduler.timesteps]
    yield from golden.compare("prev", torch.stack(stepped), 1e-6)
    noised = [scheduler.add_noise(sample, noise, t[None]) for t in scheduler.timesteps]
    yield from golden.compare("add_noise", torch.stack(noised), 1e-6)
    if "blur_in" in golden.arrays:
        yield from golden.compare("blur_out", blur_latent(golden.tensor("blur_in")), 1e-6)
