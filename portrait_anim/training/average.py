"""Average two sets of weights, one trained on from the other: `python -m portrait_anim.training.average`.

Training on makes an encoder better on rendered faces and, after a while, no better on living ones: it learns what
renders have in common. The mean of the weights before and after keeps most of what was learnt and forgets most of that
(model soups, Wortsman et al. 2022; WiSE-FT, Wortsman et al. 2021).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from portrait_anim.training.networks import LiteNetworks, load_pipeline_weights

_PARTS = ("motion_encoder.", "warp_field.heads.")  # what stage `motion` trains


@torch.no_grad()
def average(older: LiteNetworks, newer: LiteNetworks, share: float) -> None:
    """Move motion encoder and heads of `older` towards those of `newer`, in place.

    Args:
        older: Networks that training went on from.
        newer: Networks after it.
        share: Share of the newer weights, 0 to 1.

    Raises:
        ValueError: If `share` is out of range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"expected a share from 0 to 1, got {share}")
    target = newer.state_dict()
    for name, value in older.state_dict().items():
        if name.startswith(_PARTS) and value.is_floating_point():
            value.lerp_(target[name].to(value), share)


def main(argv: list[str] | None = None) -> int:
    """Average the motion encoders of two pipeline folders into the older one."""
    from portrait_anim.training.export import replace_tensors

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help="pipeline folder that is changed")
    parser.add_argument("--newer", type=Path, required=True, help="pipeline folder that was trained on from it")
    parser.add_argument("--share", type=float, default=0.4, help="share of the newer weights (default 0.4)")
    arguments = parser.parse_args(argv)
    older, newer = LiteNetworks(), LiteNetworks()
    load_pipeline_weights(older, arguments.weights)
    load_pipeline_weights(newer, arguments.newer)
    average(older, newer, arguments.share)
    replace_tensors(arguments.weights, "motion_encoder", dict(older.motion_encoder.state_dict()))
    heads = {f"heads.{k}": v for k, v in older.warp_field.heads.state_dict().items()}
    replace_tensors(arguments.weights, "warp_field", heads)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
