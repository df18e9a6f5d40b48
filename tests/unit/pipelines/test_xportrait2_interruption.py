"""Stopping within a call; the pause between questions; no trace left behind."""

import pytest
import torch
from torch import nn

from portrait_anim.pipelines.xportrait2_interruption import interruptible


def build():
    return nn.Sequential(*(nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4)) for _ in range(5)))


def test_a_call_ends_in_its_middle():
    net, asked = build(), []

    def check():
        asked.append(1)
        if len(asked) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError), interruptible([net], check, every_s=0.0):
        net(torch.ones(1, 4))
    assert len(asked) == 3
    net(torch.ones(1, 4))
    assert len(asked) == 3


def test_it_asks_no_more_often_than_told():
    net, asked, now = build(), [], [0.0]

    def clock():
        now[0] += 0.1
        return now[0]

    with interruptible([net], lambda: asked.append(1), every_s=0.25, clock=clock):
        for _ in range(4):
            net(torch.ones(1, 4))
    assert 0 < len(asked) < 10
    with interruptible([net], None):
        net(torch.ones(1, 4))
