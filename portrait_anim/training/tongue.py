"""Teach a trained encoder to see tongues: `python -m portrait_anim.training.tongue --data LIPS --weights W`.

Only the branch `motion_encoder.tongue` learns, on features of the frozen encoder, so that nothing else changes. An
encoder that is trained further needs it again.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from portrait_anim.models.lite.motion_encoder import LiteMotionEncoder
from portrait_anim.training.crops import cut, prepare_crops, spoil
from portrait_anim.training.draws import Draws, step_seed, uniform
from portrait_anim.training.export import replace_tensors
from portrait_anim.training.networks import LiteNetworks, load_pipeline_weights
from portrait_anim.training.shards import ShardDataset
from portrait_anim.training.step import Batch
from portrait_anim.training.tongue_pictures import mirrored, put_out_tongues

logger = logging.getLogger(__name__)

_WEIGHT = (1.0, 1.0, 0.6)  # of out, aside, up
_RATE, _WARM_UP = 2e-3, 100  # learning rate, and steps until it is reached
_BATCH, _PLAIN = 32, 4  # pictures that may get a tongue, and groups of four that never do
_DAMAGE = 0.8
_USES, _KEPT = 3, 60  # how often a batch is used, on average, and how many are kept for that; making them costs more


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """How well tongues are read on held-out people.

    Attributes:
        correlation: Of read with true out, aside and up `(3,)`.
        without: 99th percentile of `out` where there is no tongue.
        found: Share of tongues more than a third out that are read above `without`.
    """

    correlation: tuple[float, ...]
    without: float
    found: float


def tongue_crops(stored: Batch, draws: Draws, strength: float = _DAMAGE) -> tuple[torch.Tensor, torch.Tensor]:
    """Damaged motion crops `(B, 3, S, S)` in [-1, 1] of faces with known lips, and what they show `(B, 3)`."""
    ready = mirrored(stored, uniform(draws, stored["lips"], len(stored["lips"])) < 0.5)
    ready["picture"], shown = put_out_tongues(ready, draws)
    return spoil(cut(ready, draws), draws, strength) * 2 - 1, shown


def plain_crops(stored: Batch, draws: Draws) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of groups of faces without tongues (`synthetic.crops`)."""
    image = spoil(cut(prepare_crops(stored, draws), draws), draws, _DAMAGE) * 2 - 1
    return image, image.new_zeros(len(image), 3)


def teach(
    encoder: LiteMotionEncoder, faces: Iterator[Batch], plain: Iterator[Batch] | None, minutes: float, seed: int = 0
) -> int:
    """Train the branch `encoder.tongue` in place.

    Args:
        encoder: A trained encoder; everything else of it stays as it is.
        faces: Batches of `synthetic.lip_edges`.
        plain: Batches of `synthetic.crops`, or `None`.
        minutes: How long.
        seed: Decides everything random.

    Returns:
        Steps that were done.
    """
    encoder.eval().requires_grad_(False)
    branch = encoder.tongue.requires_grad_(True).train()
    optimiser = torch.optim.AdamW(branch.parameters(), lr=_RATE, weight_decay=0.02)
    start, step, mean = time.monotonic(), 0, 0.0
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    while (share := (time.monotonic() - start) / (60 * minutes)) < 1:
        draws = torch.Generator().manual_seed(step_seed(seed, "tongue", step))
        image, shown = tongue_crops(next(faces), draws)
        if plain is not None:
            image, shown = (torch.cat(v) for v in zip((image, shown), plain_crops(next(plain), draws), strict=True))
        for group in optimiser.param_groups:
            group["lr"] = _RATE * min(1.0, (step + 1) / _WARM_UP) * (1 - share) ** 0.7
        with torch.no_grad():
            seen = branch.look(image, encoder.shallow_features(image))
        again = torch.randint(len(kept), (min(len(kept), _USES - 1),), generator=draws).tolist() if kept else []
        for features, truth in [(seen, shown), *(kept[k] for k in again)]:
            error = (branch.interpret(features.float()) - truth) ** 2
            loss = (error * error.new_tensor(_WEIGHT)).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            mean += (float(loss.detach()) - mean) / (50 * _USES)
        step += 1
        kept = [*kept[-_KEPT + 1 :], (seen.half(), shown)]
        if step % 50 == 0:
            logger.info("step %d, %.0f s, loss %.4f", step, time.monotonic() - start, mean)
    branch.eval()
    return step


@torch.no_grad()
def measure(encoder: LiteMotionEncoder, faces: Iterator[Batch], batches: int, seed: int = 1) -> Quality:
    """Read tongues on damaged crops of held-out people."""
    draws = torch.Generator().manual_seed(seed)
    pairs = [tongue_crops(next(faces), draws, 0.6) for _ in range(batches)]
    read = torch.cat([encoder(image).tongue for image, _ in pairs])
    true = torch.cat([shown for _, shown in pairs])
    without = float(read[true[:, 0] == 0, 0].quantile(0.99))
    correlation = tuple(float(torch.corrcoef(torch.stack([read[:, k], true[:, k]]))[0, 1]) for k in range(3))
    return Quality(
        correlation=correlation, without=without, found=float((read[true[:, 0] > 1 / 3, 0] > without).float().mean())
    )


def main(argv: list[str] | None = None) -> int:
    """Teach, measure, and write the branch into a pipeline folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with shards of --kind lips")
    parser.add_argument("--plain", type=Path, help="folder with shards of --kind crops, faces without tongues")
    parser.add_argument("--weights", type=Path, required=True, help="pipeline folder whose encoder gets the branch")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long to train (default 20)")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    nets = LiteNetworks().eval()
    load_pipeline_weights(nets, arguments.weights)
    encoder = nets.motion_encoder
    faces = ShardDataset(arguments.data, "lips-0*").batches(_BATCH, 0)
    plain = ShardDataset(arguments.plain, "crops-0*").batches(_PLAIN, 0) if arguments.plain else None
    steps = teach(encoder, faces, plain, arguments.minutes)
    branch = {f"tongue.{k}": v for k, v in encoder.tongue.state_dict().items()}
    replace_tensors(arguments.weights, "motion_encoder", branch)
    quality = measure(encoder, ShardDataset(arguments.data, "lips-1*").batches(_BATCH, 0), 12)
    sys.stdout.write(f"{steps} steps; {quality}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
