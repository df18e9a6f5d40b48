"""A newly trained motion encoder in the words of older weights: `python -m portrait_anim.training.rebase`.

Latents have no meaning of their own: training an encoder further turns them, and everything trained on the older
latents (the correction of the warp, the paint) would see strange ones. What the heads read has a meaning. So the
encoder's last layer is rewritten, exactly, such that the OLD heads read from its latents what its own heads did; what
no head reads stays as it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

import torch
from torch import nn

from portrait_anim.models.lite.expressions import TOKEN_GROUPS, ExpressionHeads
from portrait_anim.models.lite.motion_encoder import LiteMotionEncoder


@torch.no_grad()
def rebase(encoder: LiteMotionEncoder, heads: ExpressionHeads, older: ExpressionHeads, bias: torch.Tensor) -> None:
    """Rewrite the last layer of `encoder` in place; `older` then replaces `heads`.

    Args:
        encoder: The newly trained encoder.
        heads: Heads that were trained (and calibrated) with it.
        older: Heads of the weights whose other networks are kept.
        bias: Bias of the older encoder's last layer `(L * C,)`, which decides about what no head reads.
    """
    layer, width = encoder.to_latent, encoder.config.token_dim
    for region, (first, last) in TOKEN_GROUPS.items():
        rows = slice(first * width, last * width)
        new, old = (cast("nn.Linear", h.expression[region]) for h in (heads, older))
        inverse = torch.linalg.pinv(old.weight.double())  # (d, n)
        unread = torch.eye(inverse.shape[0], dtype=torch.float64, device=inverse.device) - inverse @ old.weight.double()
        read = new.weight.double() @ layer.bias[rows].double() + new.bias.double() - old.bias.double()
        weight = inverse @ new.weight.double() @ layer.weight[rows].double()
        layer.weight[rows] = weight.to(layer.weight)
        layer.bias[rows] = (inverse @ read + unread @ bias[rows].double()).to(layer.bias)


def main(argv: list[str] | None = None) -> int:
    """Exchange the motion encoder of a pipeline folder."""
    from portrait_anim.training.export import replace_tensors
    from portrait_anim.training.networks import LiteNetworks, load_pipeline_weights

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trained", type=Path, required=True, help="pipeline folder with the new encoder and heads")
    parser.add_argument("--weights", type=Path, required=True, help="pipeline folder that gets it")
    arguments = parser.parse_args(argv)
    new, old = LiteNetworks().eval(), LiteNetworks().eval()
    load_pipeline_weights(new, arguments.trained)
    load_pipeline_weights(old, arguments.weights)
    rebase(new.motion_encoder, new.warp_field.heads, old.warp_field.heads, old.motion_encoder.to_latent.bias)
    replace_tensors(arguments.weights, "motion_encoder", dict(new.motion_encoder.state_dict()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
