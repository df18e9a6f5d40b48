"""Golden files: tensors recorded from the published code, read with suspicion, and comparisons with them.

Their inputs may be of any number type; networks compute in 32 bits. Recorded results are compared in their own type.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from portrait_anim.errors import InputError
from portrait_anim.types import UInt8Array

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]

FORWARD: Final = 5e-5
"""Accepted error of one call of a network in 32 bits; the published code itself differs by 3e-6 between kernels."""
WHOLE: Final = 5e-4
"""Accepted error after several steps."""
_ROUNDED: Final = 1e-4  # of arrays stored in 16 bits: values beside a rounding boundary may fall on either side


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

    def numbers(self, key: str, *shape: int | None) -> torch.Tensor:
        """An input of a network in 32 bits.

        Args:
            key: Its name.
            shape: Length of each axis; `None` for any but 0.

        Raises:
            InputError: If it is absent, of another shape, or not finite.
        """
        array = self._array(key, *shape)
        if array.dtype.kind not in "fiu":
            raise self._wrong(key, "numbers", array.dtype)
        if not np.isfinite(array).all():
            raise self._wrong(key, "finite numbers", f"{(~np.isfinite(array)).sum()} others")
        return torch.from_numpy(array.astype(np.float32))

    def number(self, key: str, least: int = 0) -> int:
        """A whole number, for example of steps.

        Raises:
            InputError: If it is absent, broken or smaller.
        """
        value = float(self.numbers(key))
        if value != int(value) or value < least:
            raise self._wrong(key, f"a whole number of at least {least}", value)
        return int(value)

    def pictures(self, key: str, *shape: int | None) -> UInt8Array:
        """Pictures, uint8 sRGB; see `numbers`."""
        array = self._array(key, *shape, 3)
        if array.dtype != np.uint8:
            raise self._wrong(key, "pictures of uint8", array.dtype)
        return array

    def recorded(self, key: str) -> torch.Tensor:
        """A result, in the type in which it was stored.

        Raises:
            InputError: If it is not finite.
        """
        array = np.asarray(self.arrays[key])
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise self._wrong(key, "finite numbers", "others")
        return torch.from_numpy(array)

    def compare(self, key: str, got: torch.Tensor, limit: float = FORWARD) -> list[Comparison]:
        """Compare with a recorded array, in its own precision; nothing where none was recorded.

        Axes of length 1 do not matter, as some recordings keep the batch and some do not.

        Raises:
            InputError: If the shapes differ.
        """
        if key not in self.arrays:
            return []
        return [self.judge(key, got.squeeze(), self.recorded(key).squeeze(), limit)]

    def judge(self, what: str, got: torch.Tensor, want: torch.Tensor, limit: float = FORWARD) -> Comparison:
        """Compare with part of a recorded array, in its own precision.

        Raises:
            InputError: If the shapes differ.
        """
        if got.shape != want.shape:
            raise self._wrong(what, f"the shape {tuple(got.shape)} that follows from the inputs", tuple(want.shape))
        if want.dtype == torch.float16:
            got, limit = got.half(), max(limit, _ROUNDED)
        wanted, error = want.double(), got.double() - want.double()
        scale = wanted.square().mean().sqrt().clamp(min=1e-12)
        return Comparison(file=self.name, array=what, rms_rel=float(error.square().mean().sqrt() / scale), limit=limit)

    def _array(self, key: str, *shape: int | None) -> npt.NDArray[Any]:
        if key not in self.arrays:
            raise InputError(f"expected {key!r} in {self.name}, got {', '.join(self.arrays)}; record it again")
        array = np.asarray(self.arrays[key])
        fits = len(array.shape) == len(shape) and all(
            have == want if want is not None else have > 0 for have, want in zip(array.shape, shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if length is None else str(length) for length in shape)
            raise self._wrong(key, f"the shape ({wanted})", array.shape)
        return array

    def _wrong(self, key: str, expected: str, got: object) -> InputError:
        return InputError(f"expected {key!r} of {self.name} to have {expected}, got {got}; record it again")


def read_arrays(path: Path) -> Arrays:
    """Arrays of a golden file; nothing in it is executed.

    Raises:
        InputError: If it cannot be read, or holds nothing.
    """
    broken = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)
    try:
        with path.open("rb") as content:  # which numpy would leave open when it finds an archive cut off
            file = np.load(content, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise InputError(f"expected a golden file of named arrays (.npz), got one array in {path}")
            arrays = dict(file)
    except broken as error:
        raise InputError(f"expected a golden file (.npz), cannot read {path}: {error}") from error
    if not arrays:
        raise InputError(f"expected arrays in {path}, got none; record it again")
    return arrays
