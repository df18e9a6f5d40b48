"""Reading a face twice, as it is and mirrored: errors that take sides cancel.

An encoder reads the left of a face a little differently from its right. The mean of both readings is steadier and
costs one more run of the smallest network.
"""

from __future__ import annotations

import torch

from portrait_anim.models.lite.expressions import EXPRESSIONS, ExpressionHeads, mirror_indices
from portrait_anim.models.lite.motion_encoder import LiteMotionEncoder, LiteMotionOutput
from portrait_anim.models.lite.tongue_reader import mirrored_tongue


def encode_both_sides(encoder: LiteMotionEncoder, heads: ExpressionHeads, sample: torch.Tensor) -> LiteMotionOutput:
    """Motion of face crops, the mean of two readings.

    Args:
        encoder: The motion encoder, in evaluation mode.
        heads: Its heads, which know what mirroring does to a latent.
        sample: `(B, 3, S, S)` float in [-1, 1].

    Returns:
        Latent, rotation, placement and tongue of each crop; mirrored crops give exactly mirrored coefficients,
        rotation, placement and tongue.
    """
    batch = len(sample)
    both = encoder(torch.cat([sample, sample.flip(-1)]))
    seen, mirrored = heads(both.latent).split(batch)
    difference = mirrored_coefficients(mirrored) - seen
    rotation, placement = (
        (values[:batch] + values[batch:] * values.new_tensor(sides)) / 2
        for values, sides in ((both.rotation, (-1.0, 1.0, -1.0)), (both.placement, (-1.0, 1.0, 1.0)))
    )
    latent = both.latent[:batch] + heads.lift(difference / 2)
    tongue = (both.tongue[:batch] + mirrored_tongue(both.tongue[batch:])) / 2
    return LiteMotionOutput(latent=latent, rotation=rotation, placement=placement, tongue=tongue)


def mirrored_coefficients(coefficients: torch.Tensor) -> torch.Tensor:
    """Coefficients `(B, 55)` of the mirrored face."""
    expression, gaze = coefficients[:, : len(EXPRESSIONS)], coefficients[:, len(EXPRESSIONS) :]
    return torch.cat([expression[:, mirror_indices()], gaze * gaze.new_tensor([-1.0, 1.0])], dim=1)
