"""Published files to a folder of safetensors that diffusers loads, once, after checking every tensor."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch
from diffusers import DDIMScheduler
from diffusers import __version__ as diffusers_version
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from portrait_anim.errors import StateDictMismatch, WeightsMissing
from portrait_anim.media.atomic import atomic_path
from portrait_anim.models.xportrait2.adapter import DDIM_CONFIG, PUBLISHED, PublishedModule, from_published
from portrait_anim.models.xportrait2.published import FILES, require_files
from portrait_anim.weights import WeightEntry, WeightFile, build_manifest, read_manifest, write_manifest

PROFILE: Final = "xportrait2"
WEIGHTS_NAME: Final = "diffusion_pytorch_model.safetensors"


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a file of tensors; nothing in it is executed.

    Args:
        path: `.safetensors`, or a PyTorch file (`.pth`, `.bin`), which is read with `weights_only=True`.

    Raises:
        StateDictMismatch: If it is not a flat dictionary of tensors.
    """
    advice = "it is damaged, or not one of the published files: download it again"
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = _load_pickle(path)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StateDictMismatch(f"expected a file of tensors, cannot read {path}: {reason}; {advice}") from error
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise StateDictMismatch(f"expected a flat dictionary of tensors in {path}, got something else; {advice}")
    return dict(content)


def _load_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
    # Files of before PyTorch 1.6 cannot be mapped.
    return torch.load(path, map_location="cpu", weights_only=True)


def convert(
    downloads: Path,
    weights_folder: Path,
    *,
    modules: Mapping[str, PublishedModule] = PUBLISHED,
    dtype: torch.dtype | None = None,
    on_module: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Check the published files and write them as a pipeline folder.

    Args:
        downloads: Folder with the published files, see `portrait_anim.models.xportrait2.published.FILES`.
        weights_folder: Folder that holds `manifest.json`; the pipeline goes to its sub-folder `xportrait2`.
        modules: The networks.
        dtype: Type to store; `None` keeps that of the files.
        on_module: Told the network to be converted, networks done, networks in all.

    Returns:
        The pipeline's folder.

    Raises:
        WeightsMissing: If files are missing, with where each comes from and goes.
        StateDictMismatch: If a file is not what it should be; nothing of that network is written.
    """
    require_files(downloads)
    target = weights_folder / PROFILE
    written = []
    for done, (name, module) in enumerate(modules.items()):
        if on_module:
            on_module(name, done, len(modules))
        published = _merge(downloads, name)
        state = from_published(module, published)
        (target / name).mkdir(parents=True, exist_ok=True)
        with atomic_path(target / name / WEIGHTS_NAME) as temporary:
            save_file({key: _store(tensor, dtype) for key, tensor in state.items()}, temporary)
        module.build("meta").save_config(target / name)  # type: ignore[operator]
        written += [f"{name}/{WEIGHTS_NAME}", f"{name}/config.json"]
    DDIMScheduler(**DDIM_CONFIG).save_pretrained(target / "scheduler")
    _write_index(target)
    written += ["scheduler/scheduler_config.json", "model_index.json"]
    _record(weights_folder, written)
    return target


def _merge(downloads: Path, module: str) -> dict[str, torch.Tensor]:
    """Tensors of one network from all of its files, later files over earlier ones."""
    merged: dict[str, torch.Tensor] = {}
    for file in FILES:
        path = file.find(downloads) if file.module == module else None
        if path is not None:
            merged |= read_tensors(path)
    return merged


def _store(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    return tensor.to(dtype if dtype and tensor.is_floating_point() else tensor.dtype).contiguous()


def _write_index(target: Path) -> None:
    """Write what diffusers reads first: which class each component has."""
    index: dict[str, object] = {"_class_name": "XPortrait2Pipeline", "_diffusers_version": diffusers_version}
    for name, module in PUBLISHED.items():
        library = "diffusers" if module.cls.__module__.startswith("diffusers.") else module.cls.__module__
        index[name] = [library, module.cls.__name__]
    index["scheduler"] = ["diffusers", "DDIMScheduler"]
    with atomic_path(target / "model_index.json") as temporary:
        Path(temporary).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _record(weights_folder: Path, written: list[str]) -> None:
    """Enter the files with their checksums into the manifest, beside those of other profiles."""
    licences = {file.module: file.source.licence for file in FILES}
    try:
        others = [line for line in read_manifest(weights_folder).files if line.profile != PROFILE]
    except WeightsMissing:
        others = []
    entries = [
        WeightEntry(
            file=f"{PROFILE}/{name}", licence=licences.get(name.split("/")[0], "Apache-2.0"),
            source="converted from the published files", profile=PROFILE,
        )
        for name in written
    ]  # fmt: skip
    lines = build_manifest(weights_folder, entries).files
    if others:
        write_manifest(weights_folder, [*(WeightFile(**asdict(line)) for line in others), *lines])
