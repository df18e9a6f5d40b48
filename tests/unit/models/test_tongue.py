"""Tongues: nothing when inside, growing when out, on the side they are put to, turning with the head."""

import pytest
import torch

from portrait_anim.models import LiteMotionEncoder
from portrait_anim.models.lite.expression_field import ExpressionField
from portrait_anim.models.lite.expressions import NUM_COEFFICIENTS
from portrait_anim.models.lite.geometry import euler_to_matrix
from portrait_anim.models.lite.lips import LOWER, UPPER, LiteLips
from portrait_anim.models.lite.tongue import look_of, show_tongue
from portrait_anim.models.lite.tongue_shape import TonguePose, build_tongue

SIDE, SCALE, WIDTH, LIP = 128, 0.7, 0.36, 0.2
FIELD = ExpressionField(rank=1, size=16)


def lips_apart(apart=0.04):
    x = torch.linspace(-WIDTH / 2, WIDTH / 2, len(UPPER))
    bow = apart / 2 * (1 - (2 * x / WIDTH) ** 2)
    edge = torch.cat([torch.stack([x, LIP + side * bow, 0 * x]) for side in (-1, 1)], dim=1)
    return LiteLips(edge=edge[None], place=torch.zeros(1, 3, 2 * len(LOWER)), light=torch.ones(1, 3))


@torch.no_grad()
def tongue(out, aside=0.0, up=0.0, yaw=0.0, side=SIDE):
    look = look_of(torch.zeros(1, 3, SIDE, SIDE), torch.zeros(478, 2))
    reading = torch.tensor([[out, aside * out, up * out]])
    head = (euler_to_matrix(torch.tensor([[yaw, 0.0, 0.0]])), torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1))
    change = torch.zeros(1, NUM_COEFFICIENTS)
    pose, size = torch.eye(3)[None], torch.tensor([SCALE])
    return show_tongue(look, lips_apart(), FIELD, change, reading, pose, size, head, side)


def covered(shown):
    return shown.opacity[0, 0]


@pytest.mark.parametrize("out", [-0.2, 0.0, 0.08])
def test_a_tongue_inside_leaves_the_picture_alone(out):
    shown = tongue(out)
    image = torch.rand(1, 3, SIDE, SIDE) * 2 - 1
    assert covered(shown).max() == 0
    torch.testing.assert_close(shown.over(image), image, atol=1e-6, rtol=0)


def test_it_grows_downwards_over_the_lower_lip():
    areas = [float(covered(tongue(out)).sum()) for out in (0.1, 0.2, 0.4, 0.7, 1.0)]
    assert areas == sorted(areas)
    assert areas[-1] > 3 * areas[2] > 0
    rows = covered(tongue(1.0)).amax(1).nonzero()[:, 0]
    line = (LIP + 1) * SIDE / 2
    assert rows.min() > line - 4
    assert rows.max() == pytest.approx(line + 0.5 * SCALE * SIDE / 2, abs=5)


def test_opacity_comes_smoothly():
    steps = torch.stack([covered(tongue(out)) for out in torch.arange(0.08, 0.3, 0.02).tolist()]).diff(dim=0)
    assert steps.mean((1, 2)).abs().max() * SIDE**2 < 60


def test_aside_is_mirrored():
    left, right = (covered(tongue(0.8, aside)) for aside in (-0.8, 0.8))
    torch.testing.assert_close(left, right.flip(-1), atol=0.02, rtol=0)
    assert right.nonzero()[:, 1].float().mean() > SIDE / 2 + 3


def test_up_rises_above_the_lips():
    hanging, rising = (covered(tongue(0.9, up=up)).nonzero()[:, 0].float().mean() for up in (0.0, 1.0))
    assert rising < hanging - 6


def test_it_turns_with_the_head():
    middle = [covered(tongue(0.9, yaw=yaw)).nonzero()[:, 1].float().mean() for yaw in (-0.5, 0.0, 0.5)]
    assert middle[0] < middle[1] < middle[2]


@pytest.mark.parametrize("side", [256, 512, 768])
def test_every_side_shows_the_same_tongue_with_a_soft_edge(side):
    small, large = tongue(0.8), tongue(0.8, side=side)
    assert covered(large).mean() == pytest.approx(float(covered(small).mean()), rel=0.05)
    partly = (covered(large) > 0.05) & (covered(large) < 0.95)
    assert 0.2 * side / SIDE * 60 < partly.sum() < 8 * side / SIDE * 60


def test_a_tongue_is_not_wider_than_the_mouth():
    pose = TonguePose.of(torch.tensor([[0.5, 0.0, 0.0]]))
    narrow, wide = (build_tongue(pose, torch.tensor([width])).form[..., 0, 0].max() for width in (0.2, 0.6))
    assert narrow.sqrt() <= 0.1 < wide.sqrt()


def test_pose_of_a_reading_stays_in_range():
    pose = TonguePose.of(torch.tensor([[1.4, -2.0, 0.3], [0.01, 0.2, -0.1], [0.5, 0.25, 0.5]]))
    assert pose.out.tolist() == pytest.approx([1.0, 0.01, 0.5])
    assert pose.aside.tolist() == pytest.approx([-1.0, 1.0, 0.5])
    assert pose.up.tolist() == pytest.approx([0.3, 0.0, 1.0])


@torch.no_grad()
def test_the_branch_changes_nothing_else():
    torch.manual_seed(0)
    encoder = LiteMotionEncoder(sample_size=32, channels=(8,) * 5, blocks=(0,) * 5, fine_channels=4).eval()
    faces = torch.rand(2, 3, 32, 32) * 2 - 1
    before = encoder(faces)
    for parameter in encoder.tongue.parameters():
        parameter.add_(torch.randn_like(parameter))
    after = encoder(faces)
    for name in ("latent", "rotation", "placement"):
        assert torch.equal(getattr(before, name), getattr(after, name))
    assert not torch.equal(before.tongue, after.tongue)
