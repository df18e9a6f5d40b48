"""Small shards of random numbers, and short runs on them."""

import dataclasses

import numpy as np
import pytest
import torch

from portrait_anim.training.recipes import StageConfig, get_recipe
from portrait_anim.training.stages import DATA_KINDS


def random_arrays(count, seed=0):
    """`count` stored samples of noise: the right names, shapes, types and ranges."""
    rng = np.random.default_rng(seed)
    u8 = lambda *shape: rng.integers(0, 256, (count, *shape), dtype=np.uint8)  # noqa: E731
    f32 = lambda *shape: rng.normal(size=(count, *shape)).astype(np.float32)  # noqa: E731
    anchor = f32(3) * 0.5 + np.array([0, 0.5, -71], np.float32)
    points = f32(7, 64, 64)
    points[:, 6] = 1
    points[:, 2] = -71
    return {
        "source": u8(3, 256, 256), "target": u8(3, 256, 256), "driver": u8(3, 256, 256),
        "flow": np.clip(f32(2, 128, 128), -1, 1).astype(np.float16), "visible": u8(1, 128, 128),
        "forward": np.clip(f32(2, 128, 128), -1, 1).astype(np.float16), "forward_trust": u8(1, 128, 128),
        "points": points.astype(np.float16),
        "expr_src": np.abs(f32(53)).clip(0, 1), "expr_drv": np.abs(f32(53)).clip(0, 1),
        "head_src": 5 * f32(3), "head_tgt": 5 * f32(3), "head_drv": 5 * f32(3),
        "gaze_src": 5 * f32(2), "gaze_drv": 5 * f32(2),
        "anchor_src": anchor, "anchor_tgt": anchor, "anchor_drv": anchor,
    }  # fmt: skip


def random_groups(count, seed=0):
    """`count` stored groups of four faces of noise, see `synthetic.crops`."""
    rng = np.random.default_rng(seed)
    f32 = lambda *shape: rng.normal(size=(count, *shape)).astype(np.float32)  # noqa: E731
    return {
        "picture": rng.integers(0, 256, (count, 4, 3, 160, 160), dtype=np.uint8),
        "expr": np.abs(f32(2, 53)).clip(0, 1), "gaze": 5 * f32(2, 2), "head": 5 * f32(4, 3),
        "anchor": f32(4, 3) * 0.5 + np.array([0, 0.5, -71], np.float32),
        "who": rng.integers(0, 9, (count, 2)),
    }  # fmt: skip


RANDOM = {"crops": random_groups}  # kinds of data that are not stored as samples


def random_batch(kind, count, seed=0):
    """`count` stored rows of a kind of data, as tensors."""
    return {k: torch.from_numpy(v) for k, v in RANDOM.get(kind, random_arrays)(count, seed).items()}


@pytest.fixture
def stored():
    return random_batch


@pytest.fixture
def stored_samples():
    return lambda count, seed=0: random_batch("samples", count, seed)


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """Two shards of people who train and one of held-out people for every kind of data."""
    data = tmp_path_factory.mktemp("data")
    for kind in DATA_KINDS.values():
        names = [kind.train_shards.replace("*", f"00{k}") for k in (0, 1)] + [kind.held_out_shards.replace("*", "000")]
        for number, name in enumerate(names):
            (data / name).mkdir()
            for key, value in random_batch(kind.name, 4, number).items():
                np.save(data / name / f"{key}.npy", value.numpy())
    return data


@pytest.fixture
def config(shards):
    """Builds a run of given stages, two steps of two samples each."""

    def build(run, *stages, steps=2, batch_size=2, **changes):
        chosen = tuple(StageConfig(stage=name, num_steps=steps, batch_size=batch_size) for name in stages)
        base = get_recipe("tiny")
        return dataclasses.replace(
            base, stages=chosen or base.stages, data=shards, run=run, num_threads=1, **changes
        )

    return build
