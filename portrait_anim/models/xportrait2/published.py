"""Which files make up the published model, whose they are, where they come from. None is shipped with this project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from portrait_anim.errors import WeightsMissing

DRIVE_FOLDER: Final = "https://drive.google.com/drive/folders/1RdjBYYbstO7SOchDg7oimoAwu03g_-mI"
HUB: Final = "https://huggingface.co/"


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedSource:
    """Who publishes files.

    Attributes:
        name: What it is.
        repository: Hugging Face Hub repository, or empty.
        drive_folder: Google Drive folder, or empty.
        licence: Name of the licence, as its publisher calls it.
        terms: Where the licence is.
    """

    name: str
    licence: str
    terms: str
    repository: str = ""
    drive_folder: str = ""

    @property
    def url(self) -> str:
        """Page to download from."""
        return self.drive_folder or f"{HUB}{self.repository}"


X_NEMO: Final = PublishedSource(
    name="X-NeMo / X-Portrait 2", drive_folder=DRIVE_FOLDER, licence="CC BY-NC 4.0 (academic use only)",
    terms="https://creativecommons.org/licenses/by-nc/4.0/",
)  # fmt: skip
IMAGE_VARIATIONS: Final = PublishedSource(
    name="Stable Diffusion image variations", repository="lambdalabs/sd-image-variations-diffusers",
    licence="CreativeML Open RAIL-M", terms=f"{HUB}lambdalabs/sd-image-variations-diffusers",
)  # fmt: skip
VIDEO_DIFFUSION: Final = PublishedSource(
    name="Stable Video Diffusion XT", repository="stabilityai/stable-video-diffusion-img2vid-xt",
    licence="Stability AI community licence", terms=f"{HUB}stabilityai/stable-video-diffusion-img2vid-xt",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedFile:
    """One file to download.

    Attributes:
        module: Network that it holds, by the name of our component.
        source: Who publishes it.
        path: Where it goes, below the download folder. The remainder after `repository_folder` is its name at the
            source.
        alternatives: Other names that serve as well, of the same folder.
        repository_folder: First part of `path`, which the source does not have.
        needed: Whether there is no way without it.
    """

    module: str
    source: PublishedSource
    path: str
    alternatives: tuple[str, ...] = ()
    repository_folder: str = ""
    needed: bool = True

    @property
    def name_at_source(self) -> str:
        """Path within the source's repository or folder."""
        return self.path.removeprefix(f"{self.repository_folder}/") if self.repository_folder else self.path

    @property
    def alternatives_at_source(self) -> tuple[str, ...]:
        """Paths of the alternatives within the source's repository or folder."""
        return tuple((PurePosixPath(self.name_at_source).parent / name).as_posix() for name in self.alternatives)

    def find(self, folder: Path) -> Path | None:
        """The file or an alternative to it below a download folder."""
        choices = [folder / self.path, *(folder / Path(self.path).parent / name for name in self.alternatives)]
        return next((path for path in choices if path.is_file()), None)


_VARIATIONS: Final = "sd-image-variations-diffusers"
_VIDEO: Final = "stable-video-diffusion-img2vid-xt"

FILES: Final[tuple[PublishedFile, ...]] = (
    PublishedFile(module="motion_encoder", source=X_NEMO, path="xnemo_motion_encoder.pth"),
    PublishedFile(module="reference_unet", source=X_NEMO, path="xnemo_reference_unet.pth"),
    # Layers of one network, later files win.
    PublishedFile(
        module="denoising_unet", source=IMAGE_VARIATIONS, path=f"{_VARIATIONS}/unet/diffusion_pytorch_model.bin",
        alternatives=("diffusion_pytorch_model.safetensors",), repository_folder=_VARIATIONS, needed=False,
    ),
    PublishedFile(module="denoising_unet", source=X_NEMO, path="xnemo_denoising_unet.pth"),
    PublishedFile(module="denoising_unet", source=X_NEMO, path="xnemo_temporal_module.pth"),
    PublishedFile(
        module="vae", source=VIDEO_DIFFUSION, path=f"{_VIDEO}/vae/diffusion_pytorch_model.safetensors",
        alternatives=("diffusion_pytorch_model.fp16.safetensors",), repository_folder=_VIDEO,
    ),
    PublishedFile(
        module="image_encoder", source=IMAGE_VARIATIONS, path=f"{_VARIATIONS}/image_encoder/pytorch_model.bin",
        alternatives=("model.safetensors",), repository_folder=_VARIATIONS,
    ),
)  # fmt: skip
"""Every file of the published model. The base of the denoising UNet is only needed if the others lack parts of it."""


def sources() -> tuple[PublishedSource, ...]:
    """Every source, once."""
    return tuple(dict.fromkeys(file.source for file in FILES))


def missing_files(folder: Path, files: Sequence[PublishedFile] = FILES) -> list[PublishedFile]:
    """Needed files that are not below a download folder."""
    return [file for file in files if file.needed and file.find(folder) is None]


def require_files(folder: Path, files: Sequence[PublishedFile] = FILES) -> None:
    """Check that all needed files are there.

    Raises:
        WeightsMissing: With a line per missing file: where it comes from and where it goes.
    """
    missing = missing_files(folder, files)
    if missing:
        lines = "\n".join(
            f"  {folder / file.path}\n    {file.name_at_source} from {file.source.url} ({file.source.licence})"
            for file in missing
        )
        raise WeightsMissing(
            f"expected the published files of X-Portrait 2 in {folder}, got no:\n{lines}\n"
            f"download them there, then run 'portrait-anim weights convert xportrait2 --downloads {folder}'",
            files=[file.path for file in missing],
        )
