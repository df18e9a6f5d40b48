"""Pictures of the people: photograph, the layer behind the face, the empty background and the eyes.

Shape legend: N people, S photo side [px], Q eye texture side [px].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from portrait_anim.training.synthetic.pack import Pack, decode_picture
from portrait_anim.training.synthetic.shading import dilate, gaussian_blur
from portrait_anim.types import PathLike, UInt8Array

_FAR_FROM_PERSON: Final = 13  # width [px] of the margin around a person in which the background is not trusted


@dataclass(frozen=True, kw_only=True, slots=True)
class Textures:
    """uint8 pictures per person, channels first.

    Attributes:
        photo: `(N, 3, S, S)` the photograph.
        layer: `(N, 4, S, S)` hair, neck and torso with the face removed and filled, and their alpha.
        plate: `(N, 3, S, S)` the background without the person.
        eye: `(N, 2, Q, Q, 3)` angular textures of the left and the right eyeball.
    """

    photo: Tensor
    layer: Tensor
    plate: Tensor
    eye: Tensor

    def rows(self, index: Tensor) -> Textures:
        """The pictures of the given rows `(n,)`."""
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})


def colours(store: Tensor, who: Tensor) -> Tensor:
    """Rows `who` of a uint8 store as float32 in [0, 1]."""
    return store[who].float() * (1 / 255)


def load_textures(pack: Pack, rows: Sequence[int], device: torch.device, *, photos: PathLike | None = None) -> Textures:
    """Decode and compose the pictures of the given rows.

    Args:
        pack: A loaded pack.
        rows: Rows of the people.
        device: Where the result goes.
        photos: Folder with sharper photographs of the same people, `NUMBER.jpg` with four digits; the pack's own
            photographs are used when `None`.

    Returns:
        The textures, in the order of `rows`.

    Raises:
        MediaError: If a picture is absent or does not decode.
    """
    parts = [_one_person(pack, row, _photo(pack, row, photos)) for row in rows]
    photo, layer, plate, eye = (torch.stack(p).to(device) for p in zip(*parts, strict=True))
    return Textures(photo=photo, layer=layer, plate=plate, eye=eye)


def _planes(picture: UInt8Array) -> Tensor:
    """`(H, W, 3)` uint8 to `(1, 3, H, W)` float32 of the same range."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].float()


def _photo(pack: Pack, row: int, photos: PathLike | None) -> UInt8Array:
    """The photograph of a row, from the folder if there is one."""
    if photos is None:
        return pack.picture("photo", row)
    return decode_picture(Path(photos) / f"{pack.numbers[row]:04d}.jpg")


def _one_person(pack: Pack, row: int, photograph: UInt8Array) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Photo, layer, plate and eye pictures of one row, uint8."""
    photo = _planes(photograph)
    side = photo.shape[-1]

    def enlarge(picture: Tensor) -> Tensor:
        return F.interpolate(picture, size=(side, side), mode="bilinear", align_corners=False)

    # RGB channels of the stored picture: weight of the photo behind the face, alpha behind the face, alpha
    keep, behind_alpha, alpha = torch.split(enlarge(_planes(pack.picture("alpha", row))) / 255, 1, dim=1)
    outside = gaussian_blur((dilate(alpha, _FAR_FROM_PERSON) < 0.05).float(), 1.5)
    behind, plate = (
        enlarge(_planes(pack.picture("behind", row))),
        enlarge(_planes(pack.picture("plate", row))),
    )
    layer = torch.cat([photo * keep + behind * (1 - keep), behind_alpha * 255], 1)
    plate = photo * outside + plate * (1 - outside)
    eyes = pack.picture("eye", row)
    half = eyes.shape[1] // 2
    both = torch.from_numpy(np.stack([eyes[:, :half], eyes[:, half:]]))
    photo_u8, layer_u8, plate_u8 = ((p + 0.5).clamp(0, 255).to(torch.uint8)[0] for p in (photo, layer, plate))
    return photo_u8, layer_u8, plate_u8, both
