"""What lies around a face crop moves along with what the crop shows at its border.

A crop cuts through hair, neck and shoulders. Were the photograph around it left as it is, a nodding head would leave
its crown behind. So the motion at the border of the crop goes on outside and fades with distance.

Shapes: s side of the flow, H W photograph, n side of the map that covers crop and surroundings.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from portrait_anim.face.crop import at_pixel_indices
from portrait_anim.models.lite.composite import enlarge
from portrait_anim.models.lite.geometry import fill_holes, pixel_grid
from portrait_anim.types import CropTransform, Float32Array, UInt8Array

_SIDE = 2  # of crop and surroundings, in crop sides
_CELLS = 64  # of the map over the crop
_EDGE_PX = 4  # over which the crop takes over where the photograph ends
_NEARBY = 0.4  # what the head has left reaches so far outside the crop [half crop sides]
_STILL = 0.012  # motion below does not count, so that what stands still stays as it is [half crop sides]


class Surroundings:
    """A photograph whose surroundings of a face crop can be moved.

    Args:
        image: Photograph `(H, W, 3)` uint8 sRGB.
        transform: Photograph px -> crop px, upright.
    """

    def __init__(self, image: UInt8Array, transform: CropTransform) -> None:
        self._image = image
        self._zoom = 2 * float(transform.matrix[0, 0]) / transform.size_px  # half crop sides per px of the photograph
        self._corner = transform.matrix[:, 2] * 2 / transform.size_px - 1  # of the photograph, in half crop sides
        limits = (image.shape[1], image.shape[0])
        first, last = (
            np.clip(np.rint((side - self._corner) / self._zoom), 0, limits).astype(int) for side in (-_SIDE, _SIDE)
        )
        self._columns, self._rows = (slice(a, b) for a, b in zip(first, last, strict=True))
        self._near = self._nearness()

    def moved(self, generated: UInt8Array, flow: torch.Tensor, bare: torch.Tensor) -> UInt8Array:
        """The photograph with moved surroundings.

        Args:
            generated: The crop of a frame `(S, S, 3)` uint8 sRGB; its border continues where the photograph ends.
            flow: Backward map of the frame `(2, s, s)`, in half crop sides.
            bare: Where the flow means nothing, `(1, s, s)` in [0, 1].

        Returns:
            `(H, W, 3)` uint8; what lies far from the crop, or beside what stands still, keeps its values.
        """
        shift = spread(flow, bare)  # (n, n, 2)
        if not (shift.any() and self._image[self._rows, self._columns].size):
            return self._image
        place = self._bring(shift, _SIDE) / np.float32(self._zoom)
        place[..., 0] += np.arange(self._columns.start, self._columns.stop)
        place[..., 1] += np.arange(self._rows.start, self._rows.stop)[:, None]
        seen = cv2.remap(self._image, place, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        share = np.maximum(self._missing(place), self._left_behind(bare))
        if share.any():
            seen = cv2.blendLinear(self._bring(generated, 1), seen, share, 1 - share)
        out = self._image.copy()
        out[self._rows, self._columns] = seen
        return out

    def _missing(self, place: Float32Array) -> Float32Array:
        """How far places `(h, w, 2)` [px] lie outside the photograph, 0 to 1."""
        height, width = self._image.shape[:2]
        column, row = place[..., 0], place[..., 1]
        beyond = np.maximum(np.maximum(-column, column - width + 1), np.maximum(-row, row - height + 1))
        return np.clip(beyond / _EDGE_PX, 0, 1)

    def _left_behind(self, bare: torch.Tensor) -> Float32Array:
        """Where the head has gone from around the crop, as at the border nearby, `(h, w)` in [0, 1]."""
        return np.asarray(self._bring(bare[0].float().cpu().numpy(), 1) * self._near, dtype=np.float32)

    def _nearness(self) -> Float32Array:
        """How near to the crop the photograph lies, `(h, w)`: 1 in and beside it, 0 from `_NEARBY` on."""
        x, y = (
            np.abs((np.arange(part.start, part.stop) + 0.5) * self._zoom + corner)
            for part, corner in zip((self._columns, self._rows), self._corner, strict=True)
        )
        near = np.clip(2 - 2 * (np.maximum(x[None], y[:, None]) - 1) / _NEARBY, 0, 1)
        return np.asarray(near, dtype=np.float32)

    def _bring(self, layer: npt.NDArray[Any], half: float) -> npt.NDArray[Any]:
        """A square layer `(n, n, ...)` that reaches `half` half crop sides, over the photograph; its border repeats."""
        cells = len(layer) / (2 * half)  # per half crop side
        start = np.array([self._columns.start, self._rows.start]) * self._zoom + self._corner
        matrix = np.concatenate([np.eye(2) * self._zoom * cells, ((start + half) * cells)[:, None]], axis=1)
        size = (self._columns.stop - self._columns.start, self._rows.stop - self._rows.start)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(layer, at_pixel_indices(matrix), size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        )


@torch.inference_mode()
def spread(flow: torch.Tensor, bare: torch.Tensor) -> Float32Array:
    """Motion in a crop, continued outside its border with less and less of it.

    Args:
        flow: Backward map `(2, s, s)`, in half crop sides.
        bare: Where it means nothing, `(1, s, s)` in [0, 1].

    Returns:
        `(n, n, 2)` where to look, relative to each place [half crop sides], over `_SIDE` crop sides; 0 at the rim.
    """
    side = flow.shape[-1]
    shift = flow - pixel_grid(side, flow.device, flow.dtype).permute(2, 0, 1)
    length = shift.norm(dim=0, keepdim=True)
    shift = shift * (1 - _STILL / length.clamp(min=1e-6)).clamp(min=0)
    pooled = F.adaptive_avg_pool2d(torch.cat([shift * (1 - bare), 1 - bare]), _CELLS)
    trust = pooled[2:]
    inner = fill_holes((pooled[:2] / trust.clamp(min=1e-6))[None], (4 * trust[None]).clamp(max=1))
    margin = _CELLS * (_SIDE - 1) // 2
    near = F.pad(F.avg_pool2d(inner, 5, 1, 2, count_include_pad=False), (margin,) * 4, mode="replicate")
    far = enlarge(F.avg_pool2d(near, _CELLS // 4), near.shape[-1])
    axis = pixel_grid(len(near[0, 0]), flow.device, flow.dtype).abs().amax(-1)  # 1 at the rim
    distance = ((_SIDE * axis - 1) / (_SIDE - 1)).clamp(0, 1)
    filled = (torch.lerp(near, far, distance) * (1 - distance))[0]
    out: Float32Array = filled.permute(1, 2, 0).float().cpu().contiguous().numpy()
    return out
