"""The training loop on tiny random shards: it runs, resumes, is repeatable, and its labels follow its pictures."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from portrait_anim import weights
from portrait_anim.errors import InputError
from portrait_anim.models.lite.expressions import EXPRESSIONS, ExpressionHeads, group_indices, mirror_indices
from portrait_anim.pipelines.portrait import PortraitAnimationPipeline
from portrait_anim.training import augment
from portrait_anim.training.loop import export, load_pipeline_weights, replace_tensors, train
from portrait_anim.training.losses import image_losses, part_weight
from portrait_anim.training.recipes import get_recipe
from portrait_anim.training.shards import ShardDataset
from portrait_anim.training.step import LiteNetworks, prepare, warp_step, wrong_share


def random_sample(count, seed=0):
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


@pytest.fixture
def shards(tmp_path):
    for number in range(2):
        folder = tmp_path / "data" / f"{number:04d}"
        folder.mkdir(parents=True)
        for key, value in random_sample(3, number).items():
            np.save(folder / f"{key}.npy", value)
    return tmp_path / "data"


def config(shards, run, **changes):
    base = get_recipe("tiny", shards, run)
    return dataclasses.replace(base, **{"bf16": False, "num_threads": 1, **changes})


def read_metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_stages_follow_each_other_and_resume(shards, tmp_path):
    run = tmp_path / "run"
    train(config(shards, run, num_steps=1))
    train(config(shards, run, num_steps=2))
    assert [row["step"] for row in read_metrics(run)] == [1, 2]
    train(config(shards, run, stage="denoise", num_steps=1))
    last = read_metrics(run)[-1]
    assert last["step"] == 1
    assert np.isfinite(last["loss"])
    export(run, tmp_path / "weights")
    assert (tmp_path / "weights/lite/denoiser/diffusion_pytorch_model.safetensors").stat().st_size < 15e6
    pipeline = PortraitAnimationPipeline.from_pretrained(weights.require("lite", tmp_path / "weights"))
    assert next(pipeline.denoiser.parameters()).dtype == torch.float32


def test_a_run_starts_from_exported_weights(shards, tmp_path):
    train(config(shards, tmp_path / "first", num_steps=1))
    folder = export(tmp_path / "first", tmp_path / "weights")
    old = load_file(folder / "warp_field/diffusion_pytorch_model.safetensors")
    # a network that has grown since: half of this layer is new
    replace_tensors(folder, "warp_field", {"conv_in.weight": old["conv_in.weight"][:16]})
    weights.require("lite", tmp_path / "weights")  # the manifest was renewed
    nets = LiteNetworks()
    assert load_pipeline_weights(nets, folder) == []
    torch.testing.assert_close(nets.warp_field.conv_in.weight[:16], old["conv_in.weight"][:16].float())
    assert nets.warp_field.conv_in.weight[16:].abs().max() == 0
    train(config(shards, tmp_path / "second", num_steps=1, initial=folder))
    with pytest.raises(InputError, match="expected the weights of motion_encoder"):
        load_pipeline_weights(nets, tmp_path)


def test_geometry_keeps_full_precision_under_bfloat16(shards):
    nets = LiteNetworks()
    with torch.no_grad():
        nets.warp_field.field.patterns.normal_()
        nets.warp_field.field.mix.normal_(std=0.01)
    data = ShardDataset(shards)
    moved = []
    for bf16 in (False, True):
        generator = torch.Generator().manual_seed(0)
        batch = prepare(data.batch(np.arange(1)), generator)
        *_, out = warp_step(nets.eval(), batch, generator, 0.0, bf16, taught_share=1.0)
        moved.append(out.forward_map)
    assert (moved[0] - moved[1]).abs().max() < 0.05  # depth and features still differ a little


def test_paint_goes_where_the_warp_is_wrong():
    target = torch.zeros(1, 3, 16, 16)
    warped = target.clone()
    warped[..., 8:] = 0.08  # 4 % of the range
    share = wrong_share(warped, target)
    assert share[..., :6].abs().max() == 0
    torch.testing.assert_close(share[..., 10:14][..., 4:12, :], torch.full((1, 1, 8, 4), 0.5), atol=1e-3, rtol=0)


def test_same_seed_same_loss(shards, tmp_path):
    for name in ("a", "b"):
        train(config(shards, tmp_path / name, num_steps=1, stage="motion"))
    assert read_metrics(tmp_path / "a")[0]["loss"] == read_metrics(tmp_path / "b")[0]["loss"]


def test_data_order_resumes_where_it_stopped(shards):
    data = ShardDataset(shards)
    whole = data.batches(2, seed=3)
    first = [next(whole)["expr_src"] for _ in range(5)]
    torch.testing.assert_close(next(data.batches(2, seed=3, start=4))["expr_src"], first[4])


def test_no_shards_is_an_error(tmp_path):
    with pytest.raises(InputError, match="found none"):
        ShardDataset(tmp_path)


def test_unknown_recipe_is_an_error(tmp_path):
    with pytest.raises(InputError, match="cpu_warp"):
        get_recipe("huge", tmp_path, tmp_path)


def test_mirroring_twice_changes_nothing():
    batch = {k: torch.from_numpy(v).float() for k, v in random_sample(2).items()}
    flip = torch.tensor([True, False])
    once = augment.mirror(batch, flip)
    twice = augment.mirror(once, flip)
    for key, value in batch.items():
        torch.testing.assert_close(twice[key], value)
    assert not torch.equal(once["source"][0], batch["source"][0])
    assert torch.equal(once["source"][1], batch["source"][1])


def test_left_and_right_swap_names():
    partner = mirror_indices()
    assert EXPRESSIONS[partner[EXPRESSIONS.index("jawLeft")]] == "jawRight"
    assert EXPRESSIONS[partner[EXPRESSIONS.index("browDown_L")]] == "browDown_R"
    assert EXPRESSIONS[partner[EXPRESSIONS.index("jawOpen")]] == "jawOpen"


def test_every_coefficient_belongs_to_one_region():
    found = sorted(k for r in ("mouth", "eyes", "brows", "gaze") for k in group_indices(r))
    assert found == list(range(53))


def test_motion_crop_labels_point_at_the_anchor():
    """A white dot at the anchor must appear in the crop where the placement label says."""
    anchor = torch.tensor([[1.0, -0.5, -70.0], [-2.0, 1.0, -80.0]])
    image = torch.zeros(2, 3, 256, 256)
    for k, (x, y) in enumerate((augment.project(anchor) + 1) * 128):
        image[k, :, int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 1
    generator = torch.Generator().manual_seed(0)
    crops = augment.motion_crops(image, anchor, torch.zeros(2, 3), generator)
    for k in range(2):
        y, x = np.unravel_index(int(crops.image[k, 0].argmax()), (128, 128))
        expected = (crops.placement[k, :2] + 1) * 64
        assert abs(x + 0.5 - expected[0]) < 3
        assert abs(y + 0.5 - expected[1]) < 3


def test_turned_crops_have_turned_labels():
    generator = torch.Generator().manual_seed(1)
    anchor = torch.tensor([[0.0, 0.0, -70.0]]).expand(16, 3)
    crops = augment.motion_crops(torch.rand(16, 3, 64, 64), anchor, torch.zeros(16, 3), generator)
    assert crops.rotation[:, 2].abs().max() > 0.05
    assert crops.rotation[:, :2].abs().max() == 0


def test_photometric_damage_keeps_the_range_and_can_be_off():
    image = torch.rand(4, 3, 32, 32)
    assert augment.photometric(image, torch.Generator(), 0.0) is image
    damaged = augment.photometric(image, torch.Generator().manual_seed(0), 1.0)
    assert damaged.min() >= 0
    assert damaged.max() <= 1
    assert (damaged - image).abs().mean() > 0.01


def test_probes_read_only_their_own_tokens():
    heads = ExpressionHeads()
    latent = torch.zeros(1, 16, 16)
    before = heads(latent)
    latent[:, 12:14] = 1
    after = heads(latent)
    changed = (before != after)[0].nonzero()[:, 0].tolist()
    assert set(changed) <= set(group_indices("brows"))
    assert changed


def test_eyes_and_mouth_weigh_more():
    canonical = torch.zeros(1, 3, 4, 4)
    canonical[0, :, 0, 0] = torch.tensor([0.324, 0.347, 0.924])
    weight = part_weight(canonical, torch.ones(1, 1, 4, 4))
    assert weight[0, 0, 0, 0] > 3 * weight[0, 0, 3, 3]


def test_image_loss_is_zero_only_for_equal_pictures():
    picture, weight = torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16)
    assert sum(image_losses(picture, picture, weight).values()) == 0
    assert sum(image_losses(picture, picture.flip(-1), weight).values()) > 0
