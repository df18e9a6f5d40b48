"""Look over an installation: what is there, what is missing, and what to do about it.

Every check stands alone: one that fails never hides the others, and no check changes anything or uses the network.
"""

from __future__ import annotations

import importlib
import platform
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, TypeAlias

from portrait_anim import weights
from portrait_anim.errors import ModelError

State: TypeAlias = Literal["ok", "warning", "missing"]

_OLDEST_PYTHON: Final = (3, 10)
_NEWEST_PYTHON: Final = (3, 12)
_OLDEST_TORCH: Final = (2, 4)
_LEAST_FREE_GB: Final = 1.0
_ENCODERS: Final = ("libx264", "aac")
_DLIB_MODEL: Final = "dlib_face_recognition_resnet_model_v1.dat"
_MEDIAPIPE_VERSION: Final = "0.10.21"
_MEDIAPIPE_MODELS: Final = (
    "modules/face_detection/face_detection_full_range_sparse.tflite",
    "modules/face_detection/face_detection_short_range.tflite",
    "modules/face_landmark/face_landmark_with_attention.tflite",
)
_ARCFACE_PACK: Final = "buffalo_l"
_REINSTALL: Final = "reinstall portrait-anim"


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorRow:
    """One finding.

    Attributes:
        name: What was looked at.
        state: `"ok"`, `"warning"` (works, but less well) or `"missing"` (something will fail).
        found: What was found, in a few words.
        remedy: What to do; empty when all is well.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorReport:
    """All findings.

    Attributes:
        rows: In the order in which to read them.
    """

    rows: tuple[DoctorRow, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing that is needed is missing."""
        return all(row.state != "missing" for row in self.rows)


def diagnose(home: Path, weights_dir: Path, *, model_dir: Path | None = None) -> DoctorReport:
    """Check everything that a render needs.

    Args:
        home: The installation's home folder; need not exist.
        weights_dir: Folder of the weights and their manifest.
        model_dir: Folder that may hold the optional ArcFace pack; `home/models` by default.

    Returns:
        One row per check.
    """
    packs = home / "models" if model_dir is None else model_dir
    checks: tuple[tuple[str, Callable[[], DoctorRow]], ...] = (
        ("Python", _python),
        ("PyTorch", _torch),
        ("GPU", _gpu),
        ("ONNX Runtime", _onnx),
        ("Video codecs", _codecs),
        ("Face landmarks (mediapipe)", _mediapipe),
        ("Identity (dlib)", _dlib),
        ("Identity (arcface)", lambda: _arcface(packs)),
        ("Signing (c2pa)", _c2pa),
        ("Signing keys", lambda: _keys(home)),
        ("Disk", lambda: _disk(home)),
    )
    rows = [_guarded(name, check) for name, check in checks]
    return DoctorReport(rows=(*rows, *_weights(weights_dir)))


def _guarded(name: str, check: Callable[[], DoctorRow]) -> DoctorRow:
    """Run one check; a library that cannot even be loaded is a finding, not a crash."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a broken installation can raise anything
        return DoctorRow(name=name, state="missing", found=f"{type(error).__name__}: {error}", remedy=_REINSTALL)


def _python() -> DoctorRow:
    """Interpreter and platform."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if _OLDEST_PYTHON <= sys.version_info[:2] <= _NEWEST_PYTHON:
        return DoctorRow(name="Python", state="ok", found=found)
    return DoctorRow(name="Python", state="missing", found=found, remedy="use Python 3.10, 3.11 or 3.12")


def _torch() -> DoctorRow:
    """PyTorch and the processor it would use."""
    torch = importlib.import_module("torch")
    release = str(torch.__version__)
    found = f"{release}, {torch.get_num_threads()} threads"
    numbers = tuple(int(part) for part in release.split(".", 2)[:2])
    if numbers < _OLDEST_TORCH:
        return DoctorRow(name="PyTorch", state="missing", found=found, remedy="install torch 2.4 or newer")
    return DoctorRow(name="PyTorch", state="ok", found=found)


def _gpu() -> DoctorRow:
    """Accelerators that PyTorch sees; none is fine."""
    torch = importlib.import_module("torch")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        found = ", ".join(f"{device.name}, {device.total_memory / 2**30:.0f} GiB" for device in names)
        return DoctorRow(name="GPU", state="ok", found=found)
    if torch.backends.mps.is_available():
        return DoctorRow(name="GPU", state="ok", found="Apple GPU (mps)")
    if shutil.which("nvidia-smi"):
        found = "an NVIDIA driver, but a PyTorch that cannot use it"
        return DoctorRow(name="GPU", state="warning", found=found, remedy="install the CUDA build of torch")
    return DoctorRow(name="GPU", state="ok", found="none; the lite profile runs on the processor")


def _onnx() -> DoctorRow:
    """ONNX Runtime is optional, but its two wheels exclude each other."""
    installed = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version(name)]
    if not installed:
        return DoctorRow(name="ONNX Runtime", state="ok", found="not installed; optional")
    if len(installed) == 2:
        return DoctorRow(
            name="ONNX Runtime",
            state="warning",
            found="onnxruntime and onnxruntime-gpu together; one hides the other",
            remedy="uninstall both, then install only the one you need",
        )
    providers = ", ".join(importlib.import_module("onnxruntime").get_available_providers())
    return DoctorRow(name="ONNX Runtime", state="ok", found=f"{installed[0]} {_version(installed[0])}: {providers}")


def _codecs() -> DoctorRow:
    """Encoders inside PyAV's wheel."""
    av = importlib.import_module("av")
    absent = []
    for name in _ENCODERS:
        try:
            av.Codec(name, "w")
        except ValueError:  # av.codec.UnknownCodecError
            absent.append(name)
    found = f"PyAV {av.__version__}"
    if absent:
        return DoctorRow(
            name="Video codecs",
            state="missing",
            found=f"{found} without {', '.join(absent)}",
            remedy="install PyAV from its official wheel: pip install --force-reinstall --only-binary av av",
        )
    return DoctorRow(name="Video codecs", state="ok", found=f"{found} with {', '.join(_ENCODERS)}")


def _mediapipe() -> DoctorRow:
    """The package that finds faces, and the models inside it."""
    name = "Face landmarks (mediapipe)"
    remedy = f"pip install mediapipe=={_MEDIAPIPE_VERSION}, the last one that carries its models"
    folder = _package_folder("mediapipe")
    if folder is None:
        return DoctorRow(name=name, state="missing", found="not installed", remedy=remedy)
    absent = [model for model in _MEDIAPIPE_MODELS if not (folder / model).is_file()]
    found = _version("mediapipe")
    if absent:
        return DoctorRow(name=name, state="missing", found=f"{found} without {', '.join(absent)}", remedy=remedy)
    return DoctorRow(name=name, state="ok", found=f"{found} with its models")


def _dlib() -> DoctorRow:
    """The identity network that comes with the installation."""
    name = "Identity (dlib)"
    dlib = importlib.import_module("dlib")
    folder = _package_folder("face_recognition_models")
    model = None if folder is None else folder / "models" / _DLIB_MODEL
    if model is None or not model.is_file():
        remedy = "pip install --force-reinstall face_recognition_models==0.3.0"
        return DoctorRow(name=name, state="missing", found=f"no {_DLIB_MODEL}", remedy=remedy)
    return DoctorRow(name=name, state="ok", found=f"dlib {dlib.__version__} with {_DLIB_MODEL}")


def _arcface(packs: Path) -> DoctorRow:
    """The optional stronger identity network."""
    name = "Identity (arcface)"
    package = _version("insightface")
    models = sorted(packs.glob(f"**/{_ARCFACE_PACK}/*.onnx")) if packs.is_dir() else []
    if package and models:
        return DoctorRow(name=name, state="ok", found=f"insightface {package} with {_ARCFACE_PACK}")
    if not package and not models:
        return DoctorRow(name=name, state="ok", found="not installed; optional, dlib is used")
    found = f"insightface {package} without its models" if package else f"{_ARCFACE_PACK} without insightface"
    remedy = f"put the pack {_ARCFACE_PACK} into {packs}" if package else "pip install 'portrait-anim[arcface]'"
    return DoctorRow(name=name, state="warning", found=f"{found}; dlib is used", remedy=remedy)


def _c2pa() -> DoctorRow:
    """The library that signs and verifies."""
    library = importlib.import_module("c2pa")
    found = f"c2pa-python {_version('c2pa-python')}, native {library.sdk_version()}"
    return DoctorRow(name="Signing (c2pa)", state="ok", found=found)


def _keys(home: Path) -> DoctorRow:
    """Whether signing keys exist, and are nobody else's to read."""
    keys = sorted((home / "keys").glob("*.pem"))
    if not keys:
        return DoctorRow(name="Signing keys", state="ok", found="none yet; the first render makes them")
    exposed = [path.name for path in keys if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    if exposed and sys.platform != "win32":
        return DoctorRow(
            name="Signing keys",
            state="warning",
            found=f"readable by others: {', '.join(exposed)}",
            remedy=f"chmod 600 {home / 'keys'}/*.pem",
        )
    return DoctorRow(name="Signing keys", state="ok", found=f"{len(keys)} files in {home / 'keys'}")


def _disk(home: Path) -> DoctorRow:
    """Free space where the installation keeps its data."""
    place = next(folder for folder in (home, *home.resolve().parents) if folder.is_dir())
    free_gb = shutil.disk_usage(place).free / 1e9
    found = f"{free_gb:.1f} GB free at {place}"
    if free_gb < _LEAST_FREE_GB:
        return DoctorRow(name="Disk", state="warning", found=found, remedy="free some space, or use another --home")
    return DoctorRow(name="Disk", state="ok", found=found)


def _weights(folder: Path) -> list[DoctorRow]:
    """One row per profile in the manifest, checksums included."""
    try:
        statuses = weights.verify(dir=folder)
    except ModelError as error:
        return [DoctorRow(name="Weights", state="missing", found=str(error).partition(";")[0], remedy=_REINSTALL)]
    rows = []
    for profile in sorted({status.file.profile for status in statuses}):
        own = [status for status in statuses if status.file.profile == profile]
        bad = [f"{status.file.file} {status.state}" for status in own if status.state != "ok"]
        size_mb = sum(status.file.bytes for status in own) / 1e6
        rows.append(
            DoctorRow(
                name=f"Weights ({profile})",
                state="missing" if bad else "ok",
                found=", ".join(bad) or f"{len(own)} files, {size_mb:.1f} MB, checksums hold",
                remedy=f"{_REINSTALL}, or take {folder.name} of a fresh copy of the project" if bad else "",
            )
        )
    return rows or [DoctorRow(name="Weights", state="missing", found="an empty list", remedy=_REINSTALL)]


def _version(distribution: str) -> str:
    """Version of an installed distribution, or an empty string."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _package_folder(package: str) -> Path | None:
    """Folder of an installed package, without importing it."""
    spec = find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent
