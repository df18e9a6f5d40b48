"""Samples rendered on the way: each is used as often as promised, in an order that can be taken up anywhere."""

from collections import Counter
from itertools import islice

import pytest
import torch

from portrait_anim.training.pairs import draw_pairs
from portrait_anim.training.sources import PackStream
from portrait_anim.training.stages import DATA_KINDS
from portrait_anim.training.synthetic.renderer import Renderer


@pytest.fixture
def stream(toy_cast):
    def build(kind="samples", **changes):
        renderer = Renderer(toy_cast, size_px=64)
        settings = {"seed": 3, "chunk_batches": 2, "reuse": 3, "render_batch": 3} | changes
        return PackStream(renderer=renderer, kind=DATA_KINDS[kind], **settings)

    return build


def keys(batches):
    """Something that tells samples apart."""
    return [tuple(batch["driver"].float().mean((1, 2, 3)).tolist()) for batch in batches]


def test_every_sample_is_used_as_often_as_promised(stream):
    batches = list(islice(stream().batches(2), 24))  # four turns of six batches
    assert all(batch["source"].shape == (2, 3, 64, 64) for batch in batches)
    counts = Counter(key for batch in keys(batches) for key in batch)
    assert max(counts.values()) == 3
    assert Counter(counts.values())[3] >= 8  # all but those of the first and last turns


def test_a_stream_resumes_at_any_batch(stream):
    whole = keys(islice(stream().batches(2), 10))
    for start in (0, 1, 5, 6, 9):
        assert keys(islice(stream().batches(2, start), 10 - start)) == whole[start:]


def test_seed_and_rank_change_what_is_drawn(stream):
    first = [keys(islice(stream(**changes).batches(2), 1)) for changes in ({}, {}, {"seed": 4}, {"rank": 1})]
    assert first[0] == first[1]
    assert len({tuple(k) for k in first}) == 3


def test_pairs_stay_together_and_move_little(stream):
    for batch in islice(stream("pairs").batches(4), 6):
        here, after = ({k: v[part] for k, v in batch.items()} for part in (slice(0, None, 2), slice(1, None, 2)))
        assert torch.equal(here["who"], after["who"])
        assert torch.equal(here["other"], after["other"])
        assert torch.equal(here["source"], after["source"])
        assert not torch.equal(here["target"], after["target"])
        assert (here["head_tgt"] - after["head_tgt"]).abs().max() < 8


def test_pairs_need_an_even_number(toy_cast):
    with pytest.raises(ValueError, match="even"):
        draw_pairs(Renderer(toy_cast, size_px=64), 3, torch.Generator())
