"""Shards rendered by our own renderer are what the training reads (needs the data pack beside the repository)."""

from pathlib import Path

import numpy as np
import pytest

from portrait_anim.training.shards import ShardDataset
from portrait_anim.training.synthetic.render_shards import write_shard
from portrait_anim.training.synthetic.renderer import Renderer

PACK = Path(__file__).parents[5] / "shared" / "data" / "pack" / "omi_pack.npz"


@pytest.mark.skipif(not PACK.exists(), reason="the data pack of synthetic people is not beside the repository")
def test_a_shard_holds_every_key_and_is_repeatable(tmp_path):
    renderer = Renderer.from_pack(PACK, numbers=[1, 2, 3, 4], size_px=64)
    for name in ("a", "b"):
        write_shard(renderer, tmp_path / name, seed=5, batches=1, batch_size=2)
    data = ShardDataset(tmp_path)
    assert len(data) == 4
    batch = data.batch(np.arange(4))
    assert batch["source"].shape == (4, 3, 64, 64)
    assert batch["forward"].shape == (4, 2, 32, 32)
    assert (batch["source"][:2] == batch["source"][2:]).all()
    assert not list(tmp_path.glob("*.tmp"))
