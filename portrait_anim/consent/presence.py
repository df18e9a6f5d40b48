"""Whether a video shows one person who is really there: no cut, one identity, a live and solid face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from portrait_anim.consent.face_signals import (
    REGIONS,
    STABLE,
    FaceSignals,
    resting_shape,
    rigid_residuals,
)
from portrait_anim.consent.liveness_types import CheckResult, LivenessLimits
from portrait_anim.consent.matching import MatchPolicy, distance, mean_embedding
from portrait_anim.consent.records import LivenessFrame
from portrait_anim.types import Float64Array, IdentityEmbedding

_FRONTAL_DEG = 15.0
# Largest believable change between two frames: a constant for the landmark tracker's noise plus a speed of
# the head.
_JUMP_EYES, _SPEED_EYES_PER_S = 0.25, 6.0
_JUMP_DEG, _SPEED_DEG_PER_S = 12.0, 300.0
_JUMP_LOG_SIZE, _SPEED_LOG_SIZE_PER_S = 0.12, 1.5
_RIGID_CHANGE = 0.06
# A change that stands out from those before and after it is a cut even when a head could be as fast: how many frames
# to each side are looked at, how far it must stand out, and the smallest changes of place and shape that count.
_NEIGHBOURS, _OUTLIER, _SMALL_STEP, _SMALL_CHANGE = 4, 4.0, 0.04, 0.012


def check_recording(frames: Sequence[LivenessFrame], limits: LivenessLimits) -> CheckResult:
    """Check length, frame rate, time stamps and frame size.

    Args:
        frames: Frames with a face, in order of time.
        limits: What is accepted.

    Returns:
        The result; nothing else can be judged when it fails.
    """
    fault = _timing_fault(frames, limits) or _picture_fault(frames, limits)
    if fault:
        return CheckResult(name="recording", passed=False, message=fault)
    length = frames[-1].time_s - frames[0].time_s
    return CheckResult(name="recording", passed=True, message=f"{len(frames)} frames over {length:.1f} s")


def check_rest(signals: FaceSignals, limits: LivenessLimits) -> CheckResult:
    """Check that the person faces the camera when at rest, since every movement is measured from there."""
    yaw, pitch = float(np.median(signals.yaw_deg)), float(np.median(signals.pitch_deg))
    passed = abs(yaw) <= limits.rest_yaw_deg and abs(pitch) <= limits.rest_pitch_deg
    message = (
        "the face rests towards the camera"
        if passed
        else f"the face rests {abs(yaw):.0f} degrees to the side and {abs(pitch):.0f} degrees up or down; "
        "look straight at the camera between the steps"
    )
    return CheckResult(name="rest", passed=passed, message=message)


def check_continuity(signals: FaceSignals) -> CheckResult:
    """Check that the face moves from frame to frame as a head can, without a cut.

    Args:
        signals: What was measured.

    Returns:
        The result; the message names the time of the first jump.
    """
    dt, size = np.diff(signals.time_s), float(np.median(signals.eye_distance))
    centre = signals.points[:, list(STABLE), :2].mean(axis=1)
    shift = np.linalg.norm(np.diff(centre, axis=0), axis=1) / size
    turn = np.max([_angle_steps(angle) for angle in (signals.yaw_deg, signals.pitch_deg, signals.roll_deg)], axis=0)
    growth = np.abs(np.diff(np.log(signals.eye_distance)))
    pace = dt / np.median(dt)  # a dropped frame doubles every change
    stable = signals.points[:, list(STABLE)]
    step = np.sqrt((np.diff(stable, axis=0) ** 2).sum(axis=2).mean(axis=1)) / size / pace
    shape = rigid_residuals(signals.points[:-1], signals.points[1:], STABLE, STABLE) / size
    jumps = (
        (shift > _JUMP_EYES + _SPEED_EYES_PER_S * dt)
        | (turn > _JUMP_DEG + _SPEED_DEG_PER_S * dt)
        | (growth > _JUMP_LOG_SIZE + _SPEED_LOG_SIZE_PER_S * dt)
        | (shape > _RIGID_CHANGE)
        | ((step > _SMALL_STEP) & (_standing_out(step) > _OUTLIER))
        | ((shape > _SMALL_CHANGE) & (_standing_out(shape) > _OUTLIER))
    )
    if not jumps.any():
        return CheckResult(name="continuity", passed=True, message="the face moves without a jump")
    return CheckResult(
        name="continuity",
        passed=False,
        message=f"the face jumps at {signals.time_s[int(jumps.argmax()) + 1]:.1f} s, as in a cut; "
        "record the challenge in one go, with calm movements",
    )


def check_alive(signals: FaceSignals, limits: LivenessLimits) -> CheckResult:
    """Check that the face changes its shape, which a photograph moved by hand does not."""
    calm = signals.points[signals.calm]
    if len(calm) < 2:
        return CheckResult(
            name="alive", passed=False, message="the head never rests; return to the camera between the steps"
        )
    shape, size = resting_shape(signals), signals.eye_distance[signals.calm]
    largest = max(float(np.percentile(rigid_residuals(shape, calm, STABLE, region) / size, 98)) for region in REGIONS)
    if largest >= limits.deformation:
        return CheckResult(name="alive", passed=True, message="eyes, mouth or brows move within the face")
    return CheckResult(
        name="alive",
        passed=False,
        message="the face keeps its shape like a picture that is moved; show the expressions clearly",
    )


def check_solid(signals: FaceSignals, limits: LivenessLimits) -> CheckResult:
    """Check that the turned head looks unlike a turned flat picture of it (parallax of nose and temples)."""
    turned = np.abs(signals.yaw_deg - np.median(signals.yaw_deg)) >= limits.parallax_yaw_deg
    if not turned.any():
        return CheckResult(
            name="solid",
            passed=False,
            message="the head never turns far enough to see that it is solid; turn further",
        )
    flat = resting_shape(signals)[list(STABLE), :2]
    seen = signals.points[turned][:, list(STABLE), :2] / signals.eye_distance[turned][:, None, None]
    parallax = float(np.median([_flat_residual(flat, points) for points in seen]))
    if parallax >= limits.parallax:
        return CheckResult(name="solid", passed=True, message="the turned head shows depth")
    return CheckResult(
        name="solid",
        passed=False,
        message="the turned face looks like a flat picture that is turned; film yourself, not a photo or a screen",
    )


def check_identity(
    frames: Sequence[LivenessFrame],
    signals: FaceSignals,
    portrait: IdentityEmbedding,
    match: MatchPolicy,
    limits: LivenessLimits,
) -> tuple[CheckResult, IdentityEmbedding | None]:
    """Check that every sampled frame shows the person of the portrait.

    Args:
        frames: All frames, some with an embedding.
        signals: What was measured in them.
        portrait: Who is on the portrait.
        match: How alike faces must be.
        limits: How often the identity must be sampled.

    Returns:
        The result, and the mean over the frontal frames when all are the same person.
    """

    def failed(message: str) -> tuple[CheckResult, None]:
        return CheckResult(name="identity", passed=False, message=message), None

    away = signals.turn_from_rest_deg()
    sampled = [(i, frame.embedding) for i, frame in enumerate(frames) if frame.embedding is not None]
    if any(embedding.backend != portrait.backend for _, embedding in sampled):
        return failed("portrait and video were measured with different face models; measure both with one")
    frontal = [(i, embedding) for i, embedding in sampled if away[i] < _FRONTAL_DEG]
    if len(frontal) < limits.min_samples:
        return failed(
            f"the person could be recognised in {len(frontal)} frontal frames, {limits.min_samples} are "
            "needed; "
            "look at the camera between the steps, in good light"
        )
    times = signals.time_s
    marks = np.array([times[0], *(times[i] for i, _ in sampled), times[-1]])
    if np.diff(marks).max() > limits.max_sample_gap_s:
        at = marks[int(np.diff(marks).argmax())]
        return failed(f"the person could not be recognised for {np.diff(marks).max():.1f} s at {at:.1f} s")
    limit = match.limit(portrait.backend)
    template = mean_embedding([embedding for _, embedding in frontal])
    if distance(template, portrait) > limit:
        return failed("the person in the video is not the person of the portrait; use a clear photo of yourself")
    for i, embedding in sampled:
        slack = match.frame_slack if away[i] < _FRONTAL_DEG else match.turned_slack
        if distance(embedding, template) > limit * slack or (
            away[i] < _FRONTAL_DEG and distance(embedding, portrait) > limit * slack
        ):
            return failed(f"another person is seen at {times[i]:.1f} s; one and the same person performs every step")
    return (
        CheckResult(name="identity", passed=True, message=f"the same person in {len(sampled)} sampled frames"),
        template,
    )


def _timing_fault(frames: Sequence[LivenessFrame], limits: LivenessLimits) -> str | None:
    if len(frames) < 2:
        return f"a face was seen in {len(frames)} frames only; record the whole challenge, facing the camera"
    times = np.array([frame.time_s for frame in frames], dtype=np.float64)
    steps, length = np.diff(times), float(times[-1] - times[0])
    if not np.isfinite(times).all() or (steps <= 0).any():
        return "the times of the frames do not increase; hand in the recording as the camera made it"
    if not limits.min_duration_s <= length <= limits.max_duration_s:
        return (
            f"the recording shows a face for {length:.1f} s; "
            f"between {limits.min_duration_s:g} s and {limits.max_duration_s:g} s are needed"
        )
    rate = (len(frames) - 1) / length
    if rate < limits.min_rate_hz:
        return f"the face is seen in {rate:.1f} frames per second; at least {limits.min_rate_hz:g} are needed"
    if steps.max() > limits.max_gap_s:
        at = times[int(steps.argmax())]
        return f"no face was seen for {steps.max():.1f} s at {at:.1f} s; keep your face in the picture"
    return None


def _picture_fault(frames: Sequence[LivenessFrame], limits: LivenessLimits) -> str | None:
    if len({frame.image_size for frame in frames}) > 1:
        return "the size of the picture changes within the recording; hand in one uncut recording"
    crowd = sum(frame.num_faces > 1 for frame in frames) / len(frames)
    if crowd > limits.crowd_fraction:
        return f"more than one face is seen in {crowd:.0%} of the frames; be alone in the picture"
    return None


def _standing_out(change: Float64Array) -> Float64Array:
    """Return each change divided by the largest of its neighbours, `(T - 1,)`."""
    padded = np.pad(change, _NEIGHBOURS)
    others = [offset for offset in range(2 * _NEIGHBOURS + 1) if offset != _NEIGHBOURS]
    largest = np.max([padded[offset : offset + len(change)] for offset in others], axis=0)
    ratio: Float64Array = change / np.maximum(largest, 1e-3)
    return ratio


def _angle_steps(angle_deg: Float64Array) -> Float64Array:
    step = np.abs(np.diff(angle_deg)) % 360.0
    shortest: Float64Array = np.minimum(step, 360.0 - step)
    return shortest


def _flat_residual(flat: Float64Array, seen: Float64Array) -> float:
    """Return how far points are from the best homography of a flat reference (root mean square).

    Args:
        flat: `(K, 2)` reference points.
        seen: `(K, 2)` observed points.
    """
    (p, _), (q, back) = _normalised(flat), _normalised(seen)
    zero, one = np.zeros(len(p)), np.ones(len(p))
    x, y, u, v = p[:, 0], p[:, 1], q[:, 0], q[:, 1]
    # Direct linear transform, two equations per point (Hartley and Zisserman, eq. 4.3).
    upper = np.column_stack([-x, -y, -one, zero, zero, zero, u * x, u * y, u])
    lower = np.column_stack([zero, zero, zero, -x, -y, -one, v * x, v * y, v])
    homography = np.linalg.svd(np.vstack([upper, lower]))[2][-1].reshape(3, 3)
    mapped = np.column_stack([p, one]) @ homography.T
    if np.abs(mapped[:, 2]).min() < 1e-9:
        return 0.0
    off = mapped[:, :2] / mapped[:, 2:] - q
    return float(np.sqrt((off**2).sum(axis=1).mean()) * back)


def _normalised(points: Float64Array) -> tuple[Float64Array, float]:
    """Centre points and scale them to a mean distance of sqrt(2); return them and the inverse scale."""
    centred = points - points.mean(axis=0)
    scale = max(float(np.linalg.norm(centred, axis=1).mean()) / np.sqrt(2.0), 1e-9)
    return centred / scale, scale
