"""Motion sequences as safetensors files: motion can be kept and shared without the driver's picture."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from portrait_anim.errors import InputError
from portrait_anim.media.writer import atomic_path
from portrait_anim.pipelines.motion import STATUS, MotionSequence
from portrait_anim.types import PathLike

FORMAT = "portrait_anim.motion.v1"
_KEYS = ("latent", "rotation", "anchor", "scale", "status")
_TONGUE = "tongue"  # absent from files of before and of profiles that do not read it


def save_motion(path: PathLike, motion: MotionSequence, *, profile: str = "lite") -> None:
    """Write a motion sequence.

    Args:
        path: File to write, by convention `*.safetensors`.
        motion: What to write.
        profile: Profile whose encoder made the latents; others cannot read them.
    """
    keys = _KEYS if motion.tongue is None else (*_KEYS, _TONGUE)
    arrays = {k: np.ascontiguousarray(getattr(motion, k)) for k in keys}
    metadata = {"format": FORMAT, "profile": profile, "fps": str(motion.fps)}
    with atomic_path(path) as temporary:
        Path(temporary).write_bytes(save(arrays, metadata))


def is_motion_file(path: PathLike) -> bool:
    """Whether the name says that this is a motion file."""
    return Path(path).suffix == ".safetensors"


def load_motion(path: PathLike, *, profile: str = "lite") -> MotionSequence:
    """Read a motion sequence.

    Raises:
        InputError: If the file is not a motion file of this profile or its arrays do not fit together.
    """
    advice = "make one with 'portrait-anim motion extract CLIP -o FILE.safetensors'"
    try:
        with safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise InputError(f"expected a motion file ({FORMAT}), got another safetensors file: {path}; {advice}")
            if metadata.get("profile") != profile:
                raise InputError(f"expected motion of profile {profile!r}, got {metadata.get('profile')!r}; {advice}")
            missing = [k for k in _KEYS if k not in file.keys()]  # noqa: SIM118
            if missing:
                raise InputError(
                    f"expected arrays {', '.join(_KEYS)} in {path}, missing {', '.join(missing)}; {advice}"
                )
            arrays = {k: file.get_tensor(k) for k in (*_KEYS, _TONGUE) if k in file.keys()}  # noqa: SIM118
            fps = Fraction(metadata.get("fps", "0"))
    except (SafetensorError, OSError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"expected a motion file, cannot read {path}: {error}; {advice}") from error
    count = len(arrays["latent"])
    good = (
        arrays["latent"].ndim == 3
        and arrays["rotation"].shape == (count, 3)
        and arrays["anchor"].shape == (count, 2)
        and arrays["scale"].shape == arrays["status"].shape == (count,)
        and (_TONGUE not in arrays or arrays[_TONGUE].shape == (count, 3))
        and (arrays["scale"] > 0).all()
        and arrays["status"].max(initial=0) < len(STATUS)
        and 0 < fps <= 1000
    )
    if not good:
        raise InputError(
            f"expected consistent motion arrays, got { ({k: v.shape for k, v in arrays.items()}) }; {advice}"
        )
    return MotionSequence(fps=fps, **arrays)
