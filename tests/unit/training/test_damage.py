"""Compression and glasses do to crops what they do to real videos."""

import math

import pytest
import torch

from portrait_anim.training.damage import compress, put_on_glasses


def gradient(size=64):
    axis = torch.linspace(0.2, 0.8, size)
    across, down = axis.expand(size, size), axis.view(-1, 1).expand(size, size)
    return torch.stack([across, down, torch.full((size, size), 0.5)])[None]


def test_fine_quantisation_keeps_the_picture_and_coarse_makes_blocks():
    image = (gradient() + 0.05 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    grey = image.mean(1, keepdim=True).expand(-1, 3, -1, -1)  # chroma is halved, so compare without it
    fine, coarse = compress(grey, torch.tensor([0.02])), compress(grey, torch.tensor([4.0]))
    assert (fine - grey).abs().max() < 0.03
    assert (coarse - grey).abs().mean() > 2 * (fine - grey).abs().mean()
    inside = coarse[0, 0, 1:7].diff(dim=0).abs().mean()
    across = (coarse[0, 0, 8::8] - coarse[0, 0, 7:-1:8]).abs().mean()
    assert across > inside


def test_a_constant_picture_stays_constant():
    image = torch.tensor([0.2, 0.5, 0.7])[None, :, None, None].expand(2, -1, 32, 32)
    out = compress(image, torch.tensor([0.1, 2.0]))
    assert out.std(dim=(2, 3)).max() < 1e-4
    assert (out - image).abs().max() < 0.1


@pytest.fixture
def wear():
    def draw(yaw=0.0, x=0.0, worn=True, scale=0.62):
        image = torch.full((1, 3, 128, 128), 0.6)
        return put_on_glasses(
            image, torch.tensor([[yaw, 0.0, 0.0]]), torch.tensor([[x, -0.35, math.log(scale)]]), torch.tensor([worn]),
            torch.Generator().manual_seed(3),
        )  # fmt: skip

    return draw


def extent(picture):
    """First and last column [px] that differ from the grey of the picture."""
    columns = ((picture - 0.6).abs().sum((0, 1, 2)) > 0.5).nonzero()
    return float(columns.min()), float(columns.max())


def centre_of(picture):
    """Middle between the outer rims [px]."""
    return sum(extent(picture)) / 2


def test_glasses_are_worn_by_those_who_wear_them(wear):
    assert torch.equal(wear(worn=False), torch.full((1, 3, 128, 128), 0.6))
    assert not torch.equal(wear(), wear(worn=False))


def test_glasses_sit_at_the_eyes_and_follow_the_head(wear):
    straight = wear()
    changed = (straight - 0.6).abs().sum(1)[0]
    rows = changed.sum(1)
    assert 32 < float((rows * torch.arange(128)).sum() / rows.sum()) < 60  # the eyes are at y = -0.35
    assert centre_of(straight) == pytest.approx(63.5, abs=1.5)
    assert centre_of(wear(x=0.2)) == pytest.approx(63.5 + 0.2 * 64, abs=2.0)
    turned = wear(yaw=0.4)
    assert centre_of(turned) > centre_of(straight) + 1  # in front of the eyes, so a turn to the right moves them right
    width = lambda p: extent(p)[1] - extent(p)[0]  # noqa: E731
    assert width(turned) < width(straight)  # foreshortened
