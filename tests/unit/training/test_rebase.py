"""A rebased encoder says the same, in the words of the older heads."""

import torch

from portrait_anim.models import LiteMotionEncoder
from portrait_anim.models.lite.expressions import ExpressionHeads
from portrait_anim.training.rebase import rebase


def tiny_encoder():
    return LiteMotionEncoder(sample_size=32, channels=(8, 8, 8, 8, 8), blocks=(0, 0, 0, 0, 0), fine_channels=4).eval()


@torch.no_grad()
def test_older_heads_read_what_the_own_heads_read():
    torch.manual_seed(0)
    encoder, heads, older = tiny_encoder(), ExpressionHeads(), ExpressionHeads()
    faces = torch.rand(5, 3, 32, 32) * 2 - 1
    before, latent = heads(encoder(faces).latent), encoder(faces).latent
    rebase(encoder, heads, older, torch.zeros(256))
    torch.testing.assert_close(older(encoder(faces).latent), before, atol=1e-3, rtol=1e-3)
    assert (encoder(faces).latent - latent).abs().max() > 0.01  # the words are others


@torch.no_grad()
def test_what_no_head_reads_stays_with_the_older_bias():
    torch.manual_seed(1)
    encoder, heads = tiny_encoder(), ExpressionHeads()
    bias = torch.randn(256)
    rebase(encoder, heads, heads, bias)
    weight = heads.expression["gaze"].weight
    unread = torch.eye(weight.shape[1]) - torch.linalg.pinv(weight) @ weight
    latent = encoder(torch.rand(4, 3, 32, 32)).latent[:, 14:16].flatten(1)
    torch.testing.assert_close(latent @ unread, (bias[14 * 16 :] @ unread).expand(4, -1), atol=1e-3, rtol=1e-3)
