"""The identity probe asks everybody for the same gestures."""

import pytest
import torch

from portrait_anim.errors import InputError
from portrait_anim.training.identity_probe import collect
from portrait_anim.training.networks import LiteNetworks
from portrait_anim.training.synthetic.renderer import Renderer


def test_everybody_shows_the_same_gestures(toy_cast):
    renderer = Renderer(toy_cast, size_px=64)
    nets = LiteNetworks().eval()
    found = collect(nets, renderer, people=2, gestures=3, batch=4)
    assert found.latent.shape == (6, 256)
    assert found.person.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.gesture.tolist() == [0, 1, 2, 0, 1, 2]
    expression, gaze = found.motion[:, :53], found.motion[:, 53:55]
    assert torch.equal(expression[:3], expression[3:])
    assert torch.equal(gaze[:3], gaze[3:])
    assert not torch.equal(found.pixels[:3], found.pixels[3:])
    with pytest.raises(InputError, match="ask for fewer"):
        collect(nets, renderer, people=99, gestures=1)
