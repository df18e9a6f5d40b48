"""Checkpoints travel in pieces and are refused when a piece is missing or altered."""

import json

import pytest
import torch

from portrait_anim.errors import InputError, WeightsCorrupt, WeightsMissing
from portrait_anim.training import checkpoint

TENSORS = {
    "wide": torch.arange(200_000, dtype=torch.float32).reshape(500, 400),
    "small": torch.tensor(3.0),
    "empty": torch.zeros(0, 4),
    "count": torch.tensor([1, 2, 3], dtype=torch.int64),
    "last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
}


def test_what_is_saved_comes_back_in_small_pieces(tmp_path):
    checkpoint.save(tmp_path, TENSORS, {"step": 7, "done": False}, piece_bytes=500_000)
    sizes = [f.stat().st_size for f in tmp_path.glob("*.safetensors")]
    assert len(sizes) >= 3
    assert max(sizes) <= 500_000
    found = checkpoint.load(tmp_path)
    assert found.facts == {"step": 7, "done": False} == checkpoint.facts(tmp_path)
    assert found.tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert found.tensors[name].dtype == value.dtype
        assert torch.equal(found.tensors[name], value)


def test_a_save_replaces_the_one_before(tmp_path):
    for step in (1, 1, 2):
        checkpoint.save(tmp_path, {"a": torch.tensor(float(step))}, {"step": step})
    assert checkpoint.load(tmp_path).tensors["a"] == 2
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_a_save_that_dies_halfway_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, {"a": torch.tensor(1.0)}, {"step": 1})

    def dies(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "replace", dies)
        with pytest.raises(OSError, match="disk full"):
            checkpoint.save(tmp_path, {"a": torch.tensor(2.0)}, {"step": 2})
    assert checkpoint.load(tmp_path).tensors["a"] == 1


def test_a_missing_piece_is_named(tmp_path):
    checkpoint.save(tmp_path, TENSORS, {}, piece_bytes=500_000)
    gone = sorted(tmp_path.glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(WeightsMissing, match=gone.name) as caught:
        checkpoint.load(tmp_path)
    assert caught.value.files == (gone.name,)


def test_an_altered_piece_is_refused(tmp_path):
    checkpoint.save(tmp_path, TENSORS, {})
    piece = next(tmp_path.glob("*.safetensors"))
    content = bytearray(piece.read_bytes())
    content[-1] ^= 1
    piece.write_bytes(bytes(content))
    with pytest.raises(WeightsCorrupt) as caught:
        checkpoint.load(tmp_path)
    assert caught.value.expected != caught.value.actual


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"pieces": [], "shapes": {}})])
def test_an_unreadable_index_is_refused(tmp_path, text):
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(WeightsCorrupt, match="index of a checkpoint"):
        checkpoint.load(tmp_path)


def test_no_checkpoint_is_an_error(tmp_path):
    assert not checkpoint.exists(tmp_path)
    with pytest.raises(InputError, match=r"index\.json"):
        checkpoint.load(tmp_path)
