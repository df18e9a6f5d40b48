"""Last corrections of a trained encoder: `python -m portrait_anim.training.calibration --data DIR --weights W`.

Head pose is read once more by ridge regression on the frozen features, which is exact where the last steps of gradient
descent, shared with fifty other aims, are not. Then expressions get their full size.

A regressor that cannot be sure answers with less than it sees: least squares makes its answers vary by a factor r less
than the truth, where r is their correlation. On held-out renders the answers' spread is compared with the truth's, and
each coefficient's linear head is enlarged until both are equal. That costs squared error and gives back amplitude.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from portrait_anim.models.lite.expressions import (
    EXPRESSIONS,
    NUM_COEFFICIENTS,
    TOKEN_GROUPS,
    ExpressionHeads,
    group_indices,
    mirror_indices,
)
from portrait_anim.training.crops import read_crop_change, read_crop_pose
from portrait_anim.training.export import replace_tensors
from portrait_anim.training.networks import LiteNetworks, load_pipeline_weights
from portrait_anim.training.shards import ShardDataset
from portrait_anim.training.step import Batch, read_change, read_pose_labels
from portrait_anim.types import Region

LEAST_CORRELATION = 0.4  # below, the answer is mostly noise, and noise is not worth enlarging
LARGEST_GAIN = 1.8
_BATCH = 32
_GAIN_SAMPLES = 512


def gains(predicted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Factor that gives each column of `predicted` the spread of `truth`.

    Args:
        predicted: Changes of coefficients as the encoder reads them `(N, K)`.
        truth: The true changes `(N, K)`.

    Returns:
        `(K,)` between 1 and `LARGEST_GAIN`; 1 where the two hardly agree or the truth hardly moves.
    """
    centred, true = predicted - predicted.mean(0), truth - truth.mean(0)
    spread, true_spread = centred.pow(2).mean(0).sqrt(), true.pow(2).mean(0).sqrt()
    correlation = (centred * true).mean(0) / (spread * true_spread).clamp(min=1e-9)
    gain = (true_spread / spread.clamp(min=1e-9)).clamp(1.0, LARGEST_GAIN)
    return torch.where((correlation > LEAST_CORRELATION) & (true_spread > 0.05), gain, torch.ones_like(gain))


def coefficients_of(region: Region) -> list[int]:
    """Positions of the coefficients that a region's head says."""
    return group_indices(region) if region != "gaze" else [len(EXPRESSIONS), len(EXPRESSIONS) + 1]


def enlarge_heads(heads: ExpressionHeads, gain: torch.Tensor) -> None:
    """Multiply what the heads say by `gain` `(55,)`, in place."""
    with torch.no_grad():
        for region in TOKEN_GROUPS:
            columns = coefficients_of(region)
            for parameter in heads.expression[region].parameters():  # weight (n, d) and bias (n,)
                parameter.mul_(gain[columns].view(-1, *[1] * (parameter.ndim - 1)))


@torch.no_grad()
def calibrate(
    nets: LiteNetworks, trained: Iterator[Batch], held_out: Iterable[Batch], *, pose_batches: int = 110
) -> torch.Tensor:
    """Both corrections, in place.

    Args:
        nets: Networks in evaluation mode, on the device of the batches.
        trained: Stored samples, or groups of `synthetic.crops`, of people who train, for the pose.
        held_out: The same of people who do not, for the gains.
        pose_batches: Batches to fit the pose on.

    Returns:
        The gains `(55,)`.
    """
    refit_pose(nets, islice(trained, pose_batches))
    gain = measure(nets, held_out)
    enlarge_heads(nets.warp_field.heads, gain)
    return gain


@torch.no_grad()
def measure(nets: LiteNetworks, held_out: Iterable[Batch]) -> torch.Tensor:
    """Gains `(55,)` from stored samples or groups of held-out people."""
    rows = [
        (read_crop_change if _is_group(stored) else read_change)(nets, stored, _generator(stored).manual_seed(k))
        for k, stored in enumerate(held_out)
    ]
    predicted, truth = (torch.cat([row[k] for row in rows]) for k in (0, 1))
    mirrored = [*mirror_indices(), *range(len(EXPRESSIONS), predicted.shape[1])]  # both sides of a face get one gain
    return gains(torch.cat([predicted, predicted[:, mirrored]]), torch.cat([truth, truth[:, mirrored]]))


@torch.no_grad()
def enlarge_pose(nets: LiteNetworks, held_out: Iterable[Batch]) -> torch.Tensor:
    """Give head rotations as they are read the spread of the truth, in place.

    Args:
        nets: Networks in evaluation mode.
        held_out: Groups of `synthetic.crops` of people who do not train.

    Returns:
        Factors of yaw, pitch and roll `(3,)`, 1 to 1.2.
    """
    head = nets.motion_encoder.to_pose
    said: list[torch.Tensor] = []
    hook = head.register_forward_hook(lambda _, __, output: said.append(output[:, :3]))
    true = [read_crop_pose(nets, stored, _generator(stored).manual_seed(k))[:, :3] for k, stored in enumerate(held_out)]
    hook.remove()
    gain = (torch.cat(true).std(0) / torch.cat(said).std(0).clamp(min=1e-6)).clamp(1.0, 1.2)
    head.weight[:3] *= gain[:, None]
    head.bias[:3] *= gain
    return gain


def fit_linear(features: torch.Tensor, labels: torch.Tensor, ridge: float = 1e-4) -> tuple[torch.Tensor, torch.Tensor]:
    """Ridge regression.

    Args:
        features: `(N, D)`.
        labels: `(N, K)`.
        ridge: Penalty relative to the features' variance; the bias is free.

    Returns:
        Weight `(K, D)` and bias `(K,)`, float32.
    """
    x = torch.cat([features, torch.ones_like(features[:, :1])], dim=1).double()
    penalty = ridge * len(x) * features.double().var() * torch.eye(x.shape[1], dtype=torch.float64, device=x.device)
    penalty[-1, -1] = 0
    solution = torch.linalg.solve(x.T @ x + penalty, x.T @ labels.double()).float()
    return solution[:-1].T.contiguous(), solution[-1]


@torch.no_grad()
def refit_pose(nets: LiteNetworks, trained: Iterable[Batch]) -> None:
    """Fit the motion encoder's pose output anew on damaged crops of the people that train, in place."""
    features: list[torch.Tensor] = []
    labels: list[torch.Tensor] = []
    head = nets.motion_encoder.to_pose
    hook = head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    for number, stored in enumerate(trained):
        read = read_crop_pose if _is_group(stored) else read_pose_labels
        labels.append(read(nets, stored, _generator(stored).manual_seed(5 + number)))
    hook.remove()
    weight, bias = fit_linear(torch.cat(features), torch.cat(labels))
    head.weight.copy_(weight)
    head.bias.copy_(bias)


def _is_group(stored: Batch) -> bool:
    return "picture" in stored


def _generator(stored: Batch) -> torch.Generator:
    return torch.Generator(stored["expr" if _is_group(stored) else "source"].device)


def main(argv: list[str] | None = None) -> int:
    """Refit pose and enlarge the heads of a pipeline folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with shards of trained and held-out people")
    parser.add_argument("--weights", type=Path, required=True, help="pipeline folder, such as weights/lite")
    parser.add_argument("--regions", nargs="+", choices=tuple(TOKEN_GROUPS), default=tuple(TOKEN_GROUPS),
                        help="whose coefficients are enlarged (default: all)")  # fmt: skip
    parser.add_argument("--keep-pose", action="store_true", help="do not refit the pose; with --kind crops, enlarge it")
    parser.add_argument("--kind", choices=("samples", "crops"), default="samples", help="what the shards hold")
    arguments = parser.parse_args(argv)
    from portrait_anim.training.stages import DATA_KINDS

    nets = LiteNetworks().eval()
    load_pipeline_weights(nets, arguments.weights)
    kind = DATA_KINDS[arguments.kind]
    held_out = ShardDataset(arguments.data, kind.held_out_shards)
    rows = range(0, min(len(held_out), _GAIN_SAMPLES), _BATCH)
    batches = [held_out.batch(np.arange(r, min(r + _BATCH, len(held_out)))) for r in rows]
    if arguments.keep_pose:
        chosen = [k for region in arguments.regions for k in coefficients_of(region)]
        gain = torch.ones(NUM_COEFFICIENTS).index_copy(0, torch.tensor(chosen), measure(nets, batches)[chosen])
        enlarge_heads(nets.warp_field.heads, gain)
        if arguments.kind == "crops":
            enlarge_pose(nets, batches)
    else:
        gain = calibrate(nets, ShardDataset(arguments.data, kind.train_shards).batches(_BATCH, seed=3), batches)
    replace_tensors(
        arguments.weights,
        "motion_encoder",
        {f"to_pose.{k}": v for k, v in nets.motion_encoder.to_pose.state_dict().items()},
    )
    tensors = {f"heads.{k}": v for k, v in nets.warp_field.heads.state_dict().items()}
    replace_tensors(arguments.weights, "warp_field", tensors)
    for name, value in zip((*EXPRESSIONS, "gaze right", "gaze down"), gain.tolist(), strict=True):
        sys.stdout.write(f"{name:18} {value:.2f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
