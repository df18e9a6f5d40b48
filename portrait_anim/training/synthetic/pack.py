"""The data pack of synthetic people: one `.npz` with photographs, fits and the morphable head."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from portrait_anim.errors import InputError, MediaError
from portrait_anim.types import PathLike, UInt8Array

PACK_HINT: Final = (
    "The pack (omi_pack.npz) holds portraits of people who do not exist (OMI, CC BY-NC-SA 4.0), fitted with the ICT "
    "head. It is training material and not part of the repository: take it from whoever trains with you and give its "
    "path (--pack PATH). Rendering the sample assets anew and training need it; nothing else does."
)
_REQUIRED: Final = (
    "neutral", "tris", "plane", "geo", "centre", "chin", "lips", "expr_names", "identity_basis", "identity_scale",
    "expression_basis", "expression_scale", "id_number", "id_identity", "id_expression", "id_R", "id_t", "id_residual",
    "id_visible", "id_fill", "id_skin", "id_light", "id_depth", "id_eye_frame", "photo_bytes", "photo_offsets",
    "alpha_bytes", "plate_bytes", "behind_bytes", "eye_bytes",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """Arrays of a data pack, loaded but not yet turned into tensors.

    Attributes:
        arrays: Every array of the file by name.
        path: Where it came from.
    """

    arrays: dict[str, npt.NDArray[Any]]
    path: Path

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """Identity number of every row, `(N,)`."""
        return np.asarray(self.arrays["id_number"], dtype=np.int64)

    def rows(self, numbers: Sequence[int] | None) -> npt.NDArray[np.int64]:
        """Rows of the given identity numbers, or all rows.

        Args:
            numbers: Identity numbers in the order wanted, or `None` for everybody.

        Returns:
            `(n,)` int64.

        Raises:
            InputError: If a number is not in the pack.
        """
        have = self.numbers
        if numbers is None:
            return np.arange(len(have), dtype=np.int64)
        place = {int(number): row for row, number in enumerate(have)}
        missing = [n for n in numbers if n not in place]
        if missing:
            raise InputError(
                f"Expected identity numbers of the pack {self.path}, got {missing[:5]} which it does not hold. "
                f"Choose among its {len(have)} numbers ({int(have.min())} to {int(have.max())})."
            )
        return np.array([place[n] for n in numbers], dtype=np.int64)

    def picture(self, name: str, row: int) -> UInt8Array:
        """Decode one stored picture.

        Args:
            name: `"photo"`, `"alpha"`, `"plate"`, `"behind"` or `"eye"`.
            row: Row of the person.

        Returns:
            `(H, W, 3)` uint8 RGB.

        Raises:
            MediaError: If the stored bytes are not a picture.
        """
        offsets = self.arrays[f"{name}_offsets"]
        data = self.arrays[f"{name}_bytes"][offsets[row] : offsets[row + 1]].tobytes()
        return decode_picture(io.BytesIO(data), name=f"{name} of row {row} in {self.path}")

    def tensor(self, name: str, device: torch.device, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """One array as a tensor of the given type."""
        return torch.as_tensor(np.ascontiguousarray(self.arrays[name])).to(device, dtype)


def decode_picture(source: Path | io.BytesIO, *, name: str = "") -> UInt8Array:
    """Decode a picture file or its bytes.

    Args:
        source: The file or its bytes.
        name: How to call it in an error; the path when empty.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        MediaError: If it is absent or not a picture.
    """
    try:
        with Image.open(source) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (UnidentifiedImageError, OSError) as error:
        raise MediaError(
            f"Expected a picture as {name or source}, got something that does not decode ({error}). "
            "Get the data pack and the photographs again."
        ) from error


def read_pack(path: PathLike | None) -> Pack:
    """Read a data pack into memory.

    Args:
        path: The `.npz` file.

    Returns:
        The pack.

    Raises:
        InputError: If no path is given, the file is absent, or it is not such a pack.
    """
    if path is None:
        raise InputError(f"Expected the path of a data pack, got none. {PACK_HINT}")
    path = Path(path)
    if not path.is_file():
        raise InputError(f"Expected a data pack at {path}, got no such file. {PACK_HINT}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"Expected an .npz data pack at {path}, got a file that does not load ({error}). {PACK_HINT}"
        ) from error
    missing = [name for name in _REQUIRED if name not in arrays]
    if missing:
        raise InputError(
            f"Expected a data pack with {len(_REQUIRED)} named arrays at {path}, got one without {missing[:6]}. "
            f"{PACK_HINT}"
        )
    return Pack(arrays=arrays, path=path)
