"""Published X-Portrait 2 / X-NeMo parameters: their names and ours, both ways, strictly.

Our names are the truth; rules turn them into the published ones, and the other direction is looked up, so the two
cannot disagree. The published script loads with `strict=False`, where a wrong file silently leaves modules untrained;
here every missing, unknown, misshapen, untrained or broken tensor is listed and refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import AutoencoderKLTemporalDecoder

from portrait_anim.errors import StateDictMismatch
from portrait_anim.models.xportrait2.attention import interleaved_table
from portrait_anim.models.xportrait2.denoising_unet import XPortrait2DenoisingUNet
from portrait_anim.models.xportrait2.image_encoder import XPortrait2ImageEncoder
from portrait_anim.models.xportrait2.motion_encoder import XPortrait2MotionEncoder
from portrait_anim.models.xportrait2.reference_unet import XPortrait2ReferenceUNet

Rules = tuple[tuple[str, str], ...]
"""Regular expressions from our names to the published ones, applied one after the other."""

_BLOCK: Final = "transformer_blocks.0."
_CONV_BLOCK: Final = r"^((?:block\d|hourglass|head_block)\b.*)"
_MOTION_ENCODER: Final[Rules] = (
    (r"^positions$", "pe"),
    (r"^placement_in\.", "bbox_proj.0."),
    (r"^placement_out\.", "bbox_proj.3."),
    (r"^to_tokens\.", "final_proj."),
    (r"^attention(\d)\.proj_in\.", r"model.att_\1.pos_embed.proj."),
    (r"^attention(\d)\.block\.norm1\.", rf"model.att_\1.{_BLOCK}norms.0."),
    (r"^attention(\d)\.block\.attention\.", rf"model.att_\1.{_BLOCK}attention_blocks.0."),
    (r"^attention(\d)\.block\.norm2\.", rf"model.att_\1.{_BLOCK}ff_norm."),
    (r"^attention(\d)\.block\.", rf"model.att_\1.{_BLOCK}"),
    (r"^attention(\d)\.", r"model.att_\1."),
    (r"^stem_conv\.", "model.conv1."),
    (r"^stem_norm\.", "model.bn1."),
    (r"^head_conv\.", "model.conv_last0."),
    (r"^head_norm\.", "model.bn_end0."),
    (r"^map_conv\.", "model.l0."),
    (r"^map_norm\.", "model.bn5."),
    (r"^squeeze\.", "model.conv6."),
    (r"^to_feature\.", "model.fc."),
    (rf"{_CONV_BLOCK}\.norm(\d)\.", r"\1.bn\2."),
    (rf"{_CONV_BLOCK}\.skip\.", r"\1.downsample."),
    (r"^head_block\.", "model.top_m_0."),
    (r"^hourglass\.innermost\.", "model.m0.b2_plus_1."),
    *(
        (rf"^hourglass\.{ours}\.{level}\.", f"model.m0.b{theirs}_{level + 1}.")
        for ours, theirs in (("beside", 1), ("before", 2), ("after", 3))
        for level in range(4)
    ),
    *((rf"^block{number}\.", f"model.conv{number + 1}.") for number in (1, 2, 3)),
)
_SIDE: Final = r"((?:motion|temporal)_modules\.\d+\.)"
_DENOISING_UNET: Final[Rules] = (
    (rf"{_SIDE}attentions\.(\d)\.positions$", r"\1attentions.\2.pos_encoder.pe"),
    (rf"{_SIDE}attentions\.", rf"\1{_BLOCK}attention_blocks."),
    (rf"{_SIDE}(norms|ff|ff_norm)\.", rf"\1{_BLOCK}\2."),
    (_SIDE, r"\1temporal_transformer."),
)
_IMAGE_ENCODER: Final[Rules] = (
    (r"^projection\.", "visual_projection."),
    (r"^class_token$", "vision_model.embeddings.class_embedding"),
    (r"^patch_embed\.", "vision_model.embeddings.patch_embedding."),
    (r"^positions\.", "vision_model.embeddings.position_embedding."),
    (r"^norm_in\.", "vision_model.pre_layrnorm."),
    (r"^norm_out\.", "vision_model.post_layernorm."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.ff_in\.", ".mlp.fc1."),
    (r"\.ff_out\.", ".mlp.fc2."),
    (r"\.attention\.to_out\.0\.", ".self_attn.out_proj."),
    (r"\.attention\.to_([qkv])\.", r".self_attn.\1_proj."),
    (r"^blocks\.", "vision_model.encoder.layers."),
)

SVD_VAE_CONFIG: Final[dict[str, Any]] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "force_upcast": True,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "out_channels": 3,
    "sample_size": 768,
    "scaling_factor": 0.18215,
}
"""Configuration of the VAE of Stable Video Diffusion, which is published without ours being involved."""

DDIM_CONFIG: Final[dict[str, Any]] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.02,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "steps_offset": 1,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
}
"""The published DDIM schedule; note `beta_end` 0.02, not Stable Diffusion's 0.012."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedModule:
    """One network of the published model.

    Attributes:
        name: Component of the pipeline and folder below the profile's weights.
        cls: Our class.
        config: Its arguments.
        rules: From our parameter names to the published ones.
        optional: Published names that a file may lack, because they follow from the architecture.
        ignored: Published names that a file may have although nothing needs them.
        trained: Published names whose tensor starts at zero, so that zeros mean "never trained".
    """

    name: str
    cls: type[torch.nn.Module]
    config: Mapping[str, Any]
    rules: Rules = ()
    optional: str = r"(?!)"
    ignored: str = r"(?!)"
    trained: str = r"(?!)"

    def build(self, device: str = "cpu") -> torch.nn.Module:
        """Make the network, untrained; on `"meta"` it needs no memory."""
        with torch.device(device):
            return self.cls(**self.config).eval()


PUBLISHED: Final[dict[str, PublishedModule]] = {
    module.name: module
    for module in (
        PublishedModule(
            name="motion_encoder", cls=XPortrait2MotionEncoder, config={}, rules=_MOTION_ENCODER,
            ignored=r"pos_embed\.pos_embed$",
        ),
        PublishedModule(name="reference_unet", cls=XPortrait2ReferenceUNet, config={}),
        PublishedModule(
            name="denoising_unet", cls=XPortrait2DenoisingUNet, config={}, rules=_DENOISING_UNET,
            optional=r"pos_encoder\.pe$", trained=r"(motion|temporal)_modules\.\d+\..*proj_out\.weight$",
        ),
        PublishedModule(name="vae", cls=AutoencoderKLTemporalDecoder, config=SVD_VAE_CONFIG),
        PublishedModule(
            name="image_encoder", cls=XPortrait2ImageEncoder, config={}, rules=_IMAGE_ENCODER,
            ignored=r"^vision_model\.embeddings\.position_ids$",
        ),
    )
}  # fmt: skip
"""The networks of the published pipeline by the names of our components."""


def published_name(name: str, rules: Rules) -> str:
    """Translate one of our parameter names to the published one."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def key_map(module: PublishedModule) -> dict[str, str]:
    """Published name of every tensor of a network, by our name."""
    return {name: published_name(name, module.rules) for name in module.build("meta").state_dict()}


def to_published(module: PublishedModule, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename our tensors to the published names.

    Raises:
        StateDictMismatch: If `state` is not exactly that of the network.
    """
    names = key_map(module)
    problems = _differences(set(names), set(state))
    _refuse(module, problems)
    return {names[name]: tensor for name, tensor in state.items()}


def from_published(module: PublishedModule, published: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename published tensors to ours after checking every one of them.

    Args:
        module: Which network they should be.
        published: Tensors by published name, of any floating dtype.

    Returns:
        Exactly the state dict of our network; the tensors themselves are not copied.

    Raises:
        StateDictMismatch: If tensors are missing, unknown, of another shape, untrained or not finite.
    """
    network = module.build("meta").state_dict()
    names = {published_name(name, module.rules): name for name in network}
    given = {key: tensor for key, tensor in published.items() if key in names or not re.search(module.ignored, key)}
    required = {key for key in names if not re.search(module.optional, key)}
    problems = _differences(required, set(given) - (set(names) - required))
    for key in sorted(given.keys() & names.keys()):
        problems += _faults(module, key, given[key], network[names[key]])
    _refuse(module, problems or _emptiness(given))
    state = {names[key]: tensor for key, tensor in given.items()}
    for name in network.keys() - state.keys():
        _, length, channels = network[name].shape
        state[name] = interleaved_table(length, channels)
    return state


def load_published(module: PublishedModule, published: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """Build a network that holds the given published tensors, without copying them.

    Raises:
        StateDictMismatch: See `from_published`.
    """
    network = module.build("meta")
    network.load_state_dict(from_published(module, published), strict=True, assign=True)
    return network.eval()


def _differences(expected: set[str], given: set[str]) -> list[str]:
    missing = [f"missing: {key}" for key in sorted(expected - given)]
    return missing + [f"unknown: {key}" for key in sorted(given - expected)]


def _faults(module: PublishedModule, key: str, tensor: torch.Tensor, expected: torch.Tensor) -> list[str]:
    """What is wrong with one tensor that has a known name."""
    if tensor.shape != expected.shape:
        return [f"shape: {key} is {tuple(tensor.shape)}, expected {tuple(expected.shape)}"]
    if tensor.is_floating_point() != expected.is_floating_point():
        return [f"type: {key} is {tensor.dtype}, expected {expected.dtype}"]
    if tensor.device.type == "meta":
        return []
    if not torch.isfinite(tensor).all():
        return [f"not finite: {key}"]
    if re.search(module.trained, key) and not tensor.any():
        return [f"untrained: {key} is all zero, so its module does nothing"]
    return []


def _emptiness(given: Mapping[str, torch.Tensor]) -> list[str]:
    """A file whose weights are mostly zero was saved before training, or is a sparse copy of a damaged one."""
    weights = {key: tensor for key, tensor in given.items() if tensor.ndim >= 2 and tensor.device.type != "meta"}
    empty = [f"untrained: {key} is all zero" for key, tensor in sorted(weights.items()) if not tensor.any()]
    return empty if 2 * len(empty) > len(weights) else []


def _refuse(module: PublishedModule, problems: list[str]) -> None:
    if problems:
        raise StateDictMismatch(
            f"expected the tensors of {module.name}, got a file with {len(problems)} differences: "
            f"{'; '.join(problems[:_SHOWN])}{'; ...' if len(problems) > _SHOWN else ''}; "
            "check that it is the right file and was downloaded whole",
            problems=problems,
        )


_SHOWN: Final = 12
