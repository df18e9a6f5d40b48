"""Steps of training: labels follow pictures, geometry keeps precision, paint goes where it is needed."""

import numpy as np
import torch

from portrait_anim.models.lite.expressions import EXPRESSIONS, ExpressionHeads, group_indices, mirror_indices
from portrait_anim.training import augment
from portrait_anim.training.losses import image_losses, part_weight
from portrait_anim.training.networks import LiteNetworks
from portrait_anim.training.paint import wrong_share
from portrait_anim.training.step import StepInput, prepare, warp_samples


def test_geometry_keeps_full_precision_under_bfloat16(stored_samples):
    nets = LiteNetworks()
    with torch.no_grad():
        nets.warp_field.field.patterns.normal_()
        nets.warp_field.field.mix.normal_(std=0.01)
    moved = []
    for bf16 in (False, True):
        generator = torch.Generator().manual_seed(0)
        batch = prepare(stored_samples(1), generator)
        given = StepInput(nets=nets.eval(), draws=generator, strength=0.0, bf16=bf16)
        moved.append(warp_samples(given, batch, taught_share=1.0).field.forward_map)
    assert (moved[0] - moved[1]).abs().max() < 0.05  # depth and features still differ a little


def test_paint_goes_where_the_warp_is_wrong():
    target = torch.zeros(1, 3, 16, 16)
    warped = target.clone()
    warped[..., 8:] = 0.08  # 4 % of the range
    share = wrong_share(warped, target)
    assert share[..., :6].abs().max() == 0
    torch.testing.assert_close(share[..., 10:14][..., 4:12, :], torch.full((1, 1, 8, 4), 0.5), atol=1e-3, rtol=0)


def test_mirroring_twice_changes_nothing(stored_samples):
    batch = {k: v.float() for k, v in stored_samples(2).items()}
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
