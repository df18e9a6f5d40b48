"""How a driver's motion is put on a portrait. Pure arithmetic on what the networks read.

What a face shows is partly who it is: somebody's brows lie low, somebody's mouth curls. `"relative"` motion therefore
starts from a calm frame of the driver and adds what changes since then. A clip need not have a calm frame, though: of
somebody who frowns from the first to the last frame, the frown must not count as rest. So only a small part of every
coefficient is taken for the person's own, and the rest of it for expression.

Shapes: T frames, L tokens, C token channels, K = 55 coefficients, see `models.lite.expressions`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from portrait_anim.models.lite.expressions import EXPRESSIONS, NUM_COEFFICIENTS, TOKEN_GROUPS, ExpressionHeads
from portrait_anim.pipelines.motion import (
    MotionSequence,
    StillMotion,
    TargetMotion,
    rotation_matrix,
    scale_rotation,
    smooth_sequence,
)
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.pipelines.tongue import let_through, tongue_to_show
from portrait_anim.types import Float32Array

OWN_EXPRESSION = 0.25  # of a coefficient, at most so much is how somebody looks at rest
OWN_GAZE = 0.15  # the same of gaze [20 degrees]; eyes that look into the camera look into it in everybody
CALM = 0.05  # quantile of a coefficient over a clip that is its least
# What an encoder that learnt from renders sees of a living face is too small; how much differs (development clips).
LIVING_GAIN = {
    "browDown": 1.7, "browInnerUp": 1.7, "browOuterUp": 1.7, "eyeBlink": 1.5, "eyeSquint": 1.25,
    "jawLeft": 1.3, "jawRight": 1.3, "mouthLeft": 1.3, "mouthRight": 1.3, "mouthPucker": 1.3, "mouthSmile": 1.2,
}  # fmt: skip
LIVING_GAZE = (1.1, 1.4)  # the same of gaze right and down
KNEE, MOST = 0.5, 1.05  # of a coefficient: from where on, and how far at most, a face goes
# Share of a driver's expression that a portrait which already shows it still adds, and how far it then goes at most.
LEAST_ROOM = 0.15


def living_gain() -> Float32Array:
    """`LIVING_GAIN` and `LIVING_GAZE` of every coefficient `(K,)`, 1 where they say nothing."""
    out = np.ones(NUM_COEFFICIENTS, np.float32)
    for index, name in enumerate(EXPRESSIONS):
        out[index] = LIVING_GAIN.get(name.removesuffix("_L").removesuffix("_R"), 1.0)
    out[len(EXPRESSIONS) :] = LIVING_GAZE
    return out


def keep_believable(change: Float32Array, own: Float32Array) -> Float32Array:
    """Change of coefficients that ends softly where a face ends.

    Args:
        change: Change of the portrait's coefficients `(T, K)`.
        own: Its coefficients `(K,)`.

    Returns:
        `(T, K)`. Up to `KNEE`, or what the portrait shows itself, nothing changes; above, expressions approach `MOST`,
        or `LEAST_ROOM` more than the portrait shows. The jaw and gaze are left as they are.
    """
    knee = np.maximum(own, KNEE)
    span = np.maximum(MOST - knee, LEAST_ROOM)
    target = own + change
    bent = np.where(target > knee, knee + span * np.tanh((target - knee) / span), target)
    free = [EXPRESSIONS.index("jawOpen"), *range(len(EXPRESSIONS), NUM_COEFFICIENTS)]  # read at their size
    bent[:, free] = target[:, free]
    return np.asarray(bent - own, dtype=np.float32)


class Coefficients(Protocol):
    """Translates between latents and coefficients."""

    def read(self, latent: Float32Array) -> Float32Array:
        """Coefficients `(T, K)` of latents `(T, L, C)`."""

    def lift(self, change: Float32Array) -> Float32Array:
        """Change of latents `(T, L, C)` that makes a change of coefficients `(T, K)`."""


class HeadCoefficients:
    """`Coefficients` by the linear heads of a warp field.

    Args:
        heads: The heads; they stay where they are.
    """

    def __init__(self, heads: ExpressionHeads) -> None:
        self._heads = heads
        self._place = next(heads.parameters())

    @torch.no_grad()
    def read(self, latent: Float32Array) -> Float32Array:
        """Coefficients `(T, K)` of latents `(T, L, C)`."""
        return self._numpy(self._heads(torch.from_numpy(latent).to(self._place)))

    @torch.no_grad()
    def lift(self, change: Float32Array) -> Float32Array:
        """Change of latents `(T, L, C)` that makes a change of coefficients `(T, K)`."""
        return self._numpy(self._heads.lift(torch.from_numpy(change).to(self._place)))

    @staticmethod
    def _numpy(values: torch.Tensor) -> Float32Array:
        out: Float32Array = values.float().cpu().numpy()
        return out


def best_matching_frame(motion: MotionSequence, driver: Float32Array, still: StillMotion, own: Float32Array) -> int:
    """Frame of the driver that looks most like the portrait in expression, gaze and head pose.

    Args:
        motion: The driver.
        driver: Its coefficients `(T, K)`.
        still: The portrait.
        own: Its coefficients `(K,)`.

    Returns:
        Index of the frame.
    """
    expression = ((driver - own) ** 2).sum(axis=1)
    pose = (((motion.rotation - still.rotation) / 0.2) ** 2).sum(axis=1)
    return int(np.argmin(expression + pose + 1e3 * (motion.status != 0)))


def expression_change(driver: Float32Array, reference: Float32Array, own: Float32Array) -> Float32Array:
    """What a driver's expression adds to a portrait.

    Args:
        driver: Coefficients of the driver `(T, K)`.
        reference: Those of its reference frame `(K,)`. Only a small part of them counts as the person's own, or as much
            as the portrait shows too, and no more of an expression than the clip shows at its calmest: whoever opens
            the mouth in the reference frame does not open it at rest.
        own: Those of the portrait `(K,)`.

    Returns:
        Change of the portrait's coefficients `(T, K)`. A portrait that already shows an expression adds less of it, so
        that a smile on a smile is a smile.
    """
    limit = np.full(NUM_COEFFICIENTS, OWN_EXPRESSION, np.float32)
    limit[len(EXPRESSIONS) :] = OWN_GAZE
    rest = np.clip(reference, np.minimum(-limit, own), np.maximum(limit, own))
    faces = slice(len(EXPRESSIONS))
    calmest = np.quantile(driver[:, faces], CALM, axis=0)
    rest[faces] = np.minimum(rest[faces], np.maximum(calmest, own[faces]))
    change = driver - rest
    left = np.where(rest < 1, 1 - rest, np.inf)  # somebody who beams at rest leaves no room
    room = np.clip((1 - own) / left, LEAST_ROOM, 1)
    room[len(EXPRESSIONS) :] = 1
    return np.asarray(np.where(change > 0, change * room, change), dtype=np.float32)


def transfer(
    motion: MotionSequence, still: StillMotion, options: AnimationOptions, coefficients: Coefficients
) -> TargetMotion:
    """Put a driver's motion on a portrait.

    Args:
        motion: Driver.
        still: Portrait.
        options: Mode, gains, regions, smoothing.
        coefficients: What latents mean.

    Returns:
        Target motion of every frame; without a tongue where the driver's was not read or the mouth is left out.
    """
    motion = smooth_sequence(motion, options.smoothing)
    driver, own = coefficients.read(motion.latent), coefficients.read(still.latent[None])[0]
    reference = best_matching_frame(motion, driver, still, own)
    relative = options.motion == "relative"
    change = expression_change(driver, driver[reference], own) if relative else driver - own
    change = keep_believable(options.expression_gain * living_gain() * change, own)
    tongue = None
    if motion.tongue is not None and "mouth" in options.regions:
        tongue = tongue_to_show(motion.tongue, options.expression_gain)
        change = let_through(change, own, tongue)
    moved = coefficients.lift(change)
    latent = np.broadcast_to(still.latent, motion.latent.shape).copy()
    for region, (first, last) in TOKEN_GROUPS.items():
        if region in options.regions:
            latent[:, first:last] += moved[:, first:last]
    count = len(motion)
    if "pose" not in options.regions:
        return TargetMotion(
            latent=latent,
            rotation=np.broadcast_to(np.eye(3, dtype=np.float32), (count, 3, 3)).copy(),
            anchor=np.broadcast_to(still.anchor, (count, 2)).copy(),
            scale=np.ones(count, np.float32),
            tongue=tongue,
        )
    base = rotation_matrix(motion.rotation[reference] if relative else still.rotation)
    rotation = scale_rotation(rotation_matrix(motion.rotation) @ base.T, options.pose_gain)
    shift = (motion.anchor - motion.anchor[reference]) / motion.scale[reference] * still.scale
    scale = (motion.scale / motion.scale[reference]) ** options.pose_gain
    return TargetMotion(
        latent=latent,
        rotation=rotation,
        anchor=np.clip(still.anchor + options.pose_gain * shift, -0.8, 0.8).astype(np.float32),
        scale=np.clip(scale, 0.6, 1.6).astype(np.float32),
        tongue=tongue,
    )
