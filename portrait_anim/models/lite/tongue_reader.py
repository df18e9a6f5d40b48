"""Reading a tongue that is out: a small branch beside the motion encoder's paths, which it does not touch.

Shapes: B batch, S crop side [px].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from portrait_anim.models.lite.blocks import BatchNormBlock, down_block

_STRIDE = 4  # of the shallow features
_ROWS, _COLUMNS = (0.38, 1.0), (0.125, 0.875)  # where mouth and chin are, shares of a face crop


class TongueReader(nn.Module):
    """Colours and shallow features of mouth and chin become what the tongue does.

    Args:
        sample_size: Side S of the face crop [px].
        features: Channels of the shallow features, at a quarter of the crop.
    """

    def __init__(self, sample_size: int = 128, features: int = 48) -> None:
        super().__init__()
        side = sample_size // _STRIDE
        self._rows, self._columns = (slice(round(a * side), round(b * side)) for a, b in (_ROWS, _COLUMNS))
        self.trunk = nn.Sequential(
            down_block(features + 3 * _STRIDE**2, 48), BatchNormBlock(48), down_block(48, 64), BatchNormBlock(64),
            nn.Conv2d(64, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(inplace=True), nn.Flatten(),
        )  # fmt: skip
        height, width = (-(-(s.stop - s.start) // 4) for s in (self._rows, self._columns))
        self.read = nn.Sequential(
            nn.Linear(24 * height * width, 96), nn.BatchNorm1d(96), nn.ReLU(inplace=True), nn.Linear(96, 3)
        )

    def forward(self, sample: torch.Tensor, shallow: torch.Tensor) -> torch.Tensor:
        """Read tongues.

        Args:
            sample: Face crops `(B, 3, S, S)` in [-1, 1].
            shallow: Features of the motion encoder `(B, C, S / 4, S / 4)`.

        Returns:
            `(B, 3)`: how far it is out, 0 to 1, then how far aside (to image right) and up, each times out.
        """
        return self.interpret(self.look(sample, shallow))

    def look(self, sample: torch.Tensor, shallow: torch.Tensor) -> torch.Tensor:
        """What of `forward`'s arguments counts, `(B, C, h, w)`; nothing of it is learnt."""
        both = torch.cat([shallow, F.pixel_unshuffle(sample, _STRIDE)], dim=1)
        return both[:, :, self._rows, self._columns]

    def interpret(self, seen: torch.Tensor) -> torch.Tensor:
        """Readings `(B, 3)` of what `look` returned."""
        out: torch.Tensor = self.read(self.trunk(seen))
        return out


def mirrored_tongue(reading: torch.Tensor) -> torch.Tensor:
    """Readings `(B, 3)` of the mirrored face."""
    return reading * reading.new_tensor([1.0, -1.0, 1.0])
