"""From trained networks to a pipeline folder with 16-bit weights, and changes to such a folder.

The folder is written without importing the pipeline, whose media and face packages a training machine need not have.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import diffusers
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from safetensors.torch import load_file, save_file

from portrait_anim.training.networks import NETWORK_FILE, LiteNetworks
from portrait_anim.weights import WeightEntry, build_manifest

_PIPELINE_CLASS: Final = "PortraitAnimationPipeline"


def export(nets: LiteNetworks, weights_folder: Path, profile: str = "lite") -> Path:
    """Save networks as a pipeline with 16-bit weights and write the manifest.

    Args:
        nets: Networks on the CPU, normally the averaged ones; they are converted in place.
        weights_folder: Folder that holds `manifest.json`; the pipeline goes to its sub-folder `profile`.
        profile: Profile that was trained.

    Returns:
        The pipeline's folder.
    """
    nets.half()
    folder = weights_folder / profile
    index: dict[str, str | list[str]] = {
        "_class_name": _PIPELINE_CLASS,
        "_diffusers_version": diffusers.__version__,
    }
    for name, module in nets.named_children():
        module.save_pretrained(folder / name)  # type: ignore[operator]
        index[name] = [type(module).__module__, type(module).__name__]
    FlowMatchEulerDiscreteScheduler().save_pretrained(folder / "scheduler")
    index["scheduler"] = ["diffusers", "FlowMatchEulerDiscreteScheduler"]
    text = json.dumps(index, indent=2, sort_keys=True) + "\n"
    (folder / "model_index.json").write_text(text, encoding="utf-8")
    write_manifest(folder)
    return folder


def write_manifest(folder: Path) -> None:
    """Write the manifest beside a pipeline folder that was trained here, such as `weights/lite`."""
    entries = [
        WeightEntry(
            file=file.relative_to(folder.parent).as_posix(),
            licence="CC-BY-NC-SA-4.0" if file.suffix == ".safetensors" else "Apache-2.0",
            source="trained by portrait_anim.training on rendered people who do not exist",
            profile=folder.name,
        )
        for file in sorted(folder.rglob("*"))
        if file.suffix in (".safetensors", ".json")
    ]
    build_manifest(folder.parent, entries)


def replace_tensors(folder: Path, network: str, tensors: dict[str, torch.Tensor], *, part: str | None = None) -> None:
    """Exchange or add some tensors of one network of a pipeline folder, in 16 bit, and renew the manifest.

    Args:
        folder: Pipeline folder.
        network: Name of the network's sub-folder.
        tensors: New tensors by their names in the network.
        part: Prefix of names whose tensors all go, for a part whose own tensors have changed.
    """
    file = folder / network / NETWORK_FILE
    state = load_file(file)
    if part is not None:
        state = {k: v for k, v in state.items() if not k.startswith(part)}
    state |= {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in tensors.items()}
    temporary = file.with_suffix(".tmp")
    save_file(state, temporary)
    os.replace(temporary, file)
    write_manifest(folder)
