"""Where the driver's head is and how large, as the `xportrait2` motion encoder can be told.

The encoder was trained with it; the published script always says "as in the portrait".
"""

from __future__ import annotations

import numpy as np

from portrait_anim.pipelines.motion import MotionSequence
from portrait_anim.pipelines.xportrait2_crops import smooth_centres
from portrait_anim.types import Float32Array


def placement_of(motion: MotionSequence) -> Float32Array:
    """Placement of the head in every frame, relative to the first frame.

    A driver is another person in another picture, so what counts is how the head has moved since the clip began, in
    its own size; the portrait's head then moves as far in the size of the portrait's head.

    Args:
        motion: Its anchor and scale are centre and side of the face box [px].

    Returns:
        `(T, 3)` float32: down, right [box sides], ratio of sides; smoothed over time like the motion crops.
    """
    values = np.column_stack([motion.anchor[:, 1], motion.anchor[:, 0], motion.scale]).astype(np.float32)
    smooth = smooth_centres(values)
    side = smooth[0, 2]
    placed = np.column_stack([(smooth[:, :2] - smooth[0, :2]) / side, smooth[:, 2] / side])
    return np.asarray(placed, dtype=np.float32)
