"""Figures on rendered people, where the right picture is known: our model and two baselines side by side.

The pictures are of people who do not exist and stay in memory: only numbers leave this module, so no permit is needed
and none is made.

Shape legend: N samples, S picture side, h w truth grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from portrait_anim.errors import InputError
from portrait_anim.evaluation.baselines import piecewise_affine_flow, relative_landmarks, still_flow, warp_image
from portrait_anim.evaluation.metrics import mean_of
from portrait_anim.evaluation.output import face_mask
from portrait_anim.evaluation.picture_metrics import BoolArray, end_point_error, psnr, ssim
from portrait_anim.face.crop import at_pixel_indices, crop
from portrait_anim.face.detect import FaceDetector, find_face
from portrait_anim.pipelines.motion import STATUS
from portrait_anim.pipelines.transfer import HeadCoefficients, transfer
from portrait_anim.types import CropTransform, Float32Array, Frame, ProgressCallback, UInt8Array
from portrait_anim.types import Progress as Step

if TYPE_CHECKING:
    from portrait_anim.pipelines.options import AnimationOptions
    from portrait_anim.pipelines.portrait import PortraitAnimationPipeline
    from portrait_anim.pipelines.prepared import PreparedPortrait

METHODS: Final = {
    "still": "portrait left still",
    "landmarks": "landmark-driven piecewise-affine warp",
    "warp": "ours, warp only",
    "full": "ours",
}
_PAUSE_S: Final = 10.0  # between the two frames of a driver: the tracker takes them for separate scenes
_LEAST_VISIBLE: Final = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class TruthSamples:
    """Rendered samples: one person in two states, another person in the same two states.

    Attributes:
        source: The portrait, `(N, S, S, 3)` uint8 sRGB.
        target: The same person as the driver's second frame, `(N, S, S, 3)`.
        driver_before: Another person showing what the portrait shows, `(N, S, S, 3)`.
        driver_after: The other person showing what the target shows, `(N, S, S, 3)`.
        flow: Source position of every target pixel, `(N, h, w, 2)` float32 [px of S].
        visible: `(N, h, w)` [0, 1], how far the source shows it.
    """

    source: UInt8Array
    target: UInt8Array
    driver_before: UInt8Array
    driver_after: UInt8Array
    flow: Float32Array
    visible: Float32Array

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True, kw_only=True, slots=True)
class TruthScore:
    """One method on the samples, or on one of them.

    Attributes:
        psnr: On the whole crop [dB].
        ssim: On the whole crop.
        psnr_face: Inside the true face [dB].
        flow_error: Mean end-point error where the portrait shows the point [px of 256].
        flow_error_face: The same inside the true face.
    """

    psnr: float | None
    ssim: float | None
    psnr_face: float | None
    flow_error: float | None
    flow_error_face: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TruthTable:
    """Scores of every method.

    Attributes:
        scores: By method, see `METHODS`; means over samples.
        num_samples: Samples that count.
        num_skipped: Samples in which no face was found.
    """

    scores: dict[str, TruthScore]
    num_samples: int
    num_skipped: int


def measure_truth(
    samples: TruthSamples,
    pipeline: PortraitAnimationPipeline,
    options: AnimationOptions,
    *,
    on_progress: ProgressCallback | None = None,
) -> TruthTable:
    """Compare our model and the baselines with the truth, at 256 px.

    Args:
        samples: Rendered samples of people that the weights never saw.
        pipeline: The loaded pipeline.
        options: Steps and seed.
        on_progress: Told about each sample.

    Returns:
        Mean scores.
    """
    options = replace(options, size_px=256, crop_only=True, smoothing=0.0, motion="relative", face="largest")
    rows: list[dict[str, TruthScore]] = []
    with FaceDetector() as detector:
        for index in range(len(samples)):
            with suppress(InputError):
                rows.append(_measure_sample(samples, index, pipeline, options, detector))
            if on_progress:
                on_progress(Step(stage="truth", done=index + 1, total=len(samples)))
    scores = {method: _mean([row[method] for row in rows]) for method in METHODS}
    return TruthTable(scores=scores, num_samples=len(rows), num_skipped=len(samples) - len(rows))


def _measure_sample(
    samples: TruthSamples,
    index: int,
    pipeline: PortraitAnimationPipeline,
    options: AnimationOptions,
    detector: FaceDetector,
) -> dict[str, TruthScore]:
    """Scores of every method on one sample.

    Raises:
        InputError: If a face is not found.
    """
    prepared = pipeline.prepare_portrait(samples.source[index], options)
    size = options.size_px
    truth = crop(samples.target[index], prepared.transform)
    flow, seen = flow_in_crop(samples.flow[index], samples.visible[index], prepared.transform, len(samples.source[0]))
    face = face_mask(find_face(truth, detector, "largest").landmarks, size)
    landmarks = find_face(prepared.crop, detector, "largest").landmarks
    before, after = samples.driver_before[index], samples.driver_after[index]
    moved = relative_landmarks(
        landmarks, *(find_face(image, detector, "largest").landmarks for image in (before, after))
    )
    bent = piecewise_affine_flow(landmarks, moved, size)
    ours_flow, ours_warp, ours = _render(prepared, before, after, pipeline, options)
    shown = {
        "still": (prepared.crop, still_flow(size)),
        "landmarks": (warp_image(prepared.crop, bent), bent),
        "warp": (ours_warp, ours_flow),
        "full": (ours, ours_flow),
    }
    return {
        method: TruthScore(
            psnr=psnr(image, truth), ssim=ssim(image, truth), psnr_face=psnr(image, truth, face),
            flow_error=end_point_error(guess, flow, seen), flow_error_face=end_point_error(guess, flow, seen & face),
        )
        for method, (image, guess) in shown.items()
    }  # fmt: skip


def flow_in_crop(
    flow: Float32Array, visible: Float32Array, transform: CropTransform, side_px: int
) -> tuple[Float32Array, BoolArray]:
    """Bring the true backward map of a picture into its crop.

    Args:
        flow: `(h, w, 2)` source position of target pixels [px of the picture].
        visible: `(h, w)` [0, 1].
        transform: Picture px -> crop px, the same for source and target.
        side_px: Side of the picture.

    Returns:
        `(S, S, 2)` [crop px], and where it holds `(S, S)`.
    """
    import cv2

    zoom = side_px / flow.shape[0]  # picture px per cell of the truth
    matrix = transform.matrix @ np.array([[zoom, 0, 0], [0, zoom, 0], [0, 0, 1]])
    size = (transform.size_px, transform.size_px)
    layers = np.dstack([flow, visible]).astype(np.float32)
    moved = cv2.warpAffine(layers, at_pixel_indices(matrix), size, flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0, 0))
    positions = moved[..., :2].astype(np.float64) @ transform.matrix[:, :2].T + transform.matrix[:, 2]
    return positions.astype(np.float32), moved[..., 2] > _LEAST_VISIBLE


def _render(
    prepared: PreparedPortrait,
    before: UInt8Array,
    after: UInt8Array,
    pipeline: PortraitAnimationPipeline,
    options: AnimationOptions,
) -> tuple[Float32Array, UInt8Array, UInt8Array]:
    """Our backward map `(S, S, 2)` [px], the warped portrait and the finished frame, `(S, S, 3)` uint8 each."""
    import torch

    from portrait_anim.media.image import from_tensor
    from portrait_anim.models.lite.composite import enlarge, show

    frames = [Frame(image=image, time_s=k * _PAUSE_S, index=k) for k, image in enumerate((before, after))]
    motion = pipeline.extract_motion(frames, Fraction(1, round(_PAUSE_S)), face="largest")
    if (motion.status == STATUS.index("lost")).any():
        raise InputError("expected a driver whose face is found in both frames, got one lost; the sample is left out")
    # The first frame goes with the portrait by construction: no other may be chosen as the start of relative motion.
    status: npt.NDArray[np.uint8] = np.array([STATUS.index("found"), STATUS.index("bridged")], np.uint8)
    coefficients = HeadCoefficients(pipeline.warp_field.heads)
    target = transfer(replace(motion, status=status), prepared.still, options, coefficients)
    warped = pipeline.warp(prepared, target, slice(1, 2))
    generator = torch.Generator("cpu").manual_seed(options.seed)
    noise = torch.randn(1, 3, options.size_px, options.size_px, generator=generator).to(pipeline.device)
    full = pipeline.denoise(prepared, warped, noise, options)
    shown = (show(prepared.low, warped.field, prepared.plate, prepared.low_around), full)
    pictures = [from_tensor((warped.eyes.over(x).clamp(-1, 1) + 1) / 2)[0] for x in shown]
    flow = enlarge(warped.field.flow, options.size_px)[0].permute(1, 2, 0).cpu().numpy()
    flow = (flow + 1) * (options.size_px / 2)
    return np.asarray(flow, dtype=np.float32), pictures[0], pictures[1]


def _mean(scores: Sequence[TruthScore]) -> TruthScore:
    names = ("psnr", "ssim", "psnr_face", "flow_error", "flow_error_face")
    return TruthScore(**{name: mean_of(getattr(score, name) for score in scores) for name in names})
