"""The networks of the `lite` profile: shapes, save and load, determinism, neutral start."""

import pytest
import torch

from portrait_anim.models import LiteDenoiser, LiteMotionEncoder, LiteReferenceEncoder, LiteWarpField
from portrait_anim.models.lite.warp import HeadMotion

TINY_MOTION = {"sample_size": 32, "channels": (8, 8, 16), "blocks": (0, 1, 1)}
TINY_REFERENCE = {"channels": (8, 16, 16, 16, 24), "appearance_dim": 8}
TINY_WARP = {"appearance_dim": 8, "channels": (8, 16, 16)}
TINY_DENOISER = {"condition_dim": 16, "channels": (16, 16, 32), "context_dim": 16}


def build(cls, config, seed=0):
    torch.manual_seed(seed)
    return cls(**config).eval()


@pytest.fixture
def sample():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def still_head(batch):
    anchor = torch.zeros(batch, 2)
    return HeadMotion(torch.eye(3).expand(batch, 3, 3), anchor, anchor, torch.ones(batch))


def run_warp(field, features, scale=1.0):
    latent = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(2))
    nothing = torch.zeros(2, 1, 16, 16)  # no landmark is known: geometry is the encoder's alone
    geometry = field.fit(features, features.canonical, nothing, nothing, torch.eye(3).expand(2, 3, 3), torch.ones(2))
    return field(features, geometry, latent, latent * scale, still_head(2)), latent


def test_motion_encoder_gives_tokens_and_pose():
    out = build(LiteMotionEncoder, TINY_MOTION)(torch.zeros(3, 3, 32, 32))
    assert out.latent.shape == (3, 16, 16)
    assert out.rotation.shape == out.placement.shape == (3, 3)


def test_motion_encoder_refuses_another_size():
    with pytest.raises(ValueError, match=r"expected sample \(B, 3, 32, 32\), got \(1, 3, 64, 64\)"):
        build(LiteMotionEncoder, TINY_MOTION)(torch.zeros(1, 3, 64, 64))


def test_reference_features_have_a_quarter_of_the_resolution(sample):
    features = build(LiteReferenceEncoder, TINY_REFERENCE)(sample)
    assert features.depth.shape == (2, 1, 16, 16)
    assert features.canonical.shape == (2, 3, 16, 16)
    assert features.context.shape == (2, 16, 4, 4)
    assert features.rigidity.min() >= 0
    assert features.rigidity.max() <= 1


def test_expanded_features_equal_repeated_portraits(sample):
    encoder = build(LiteReferenceEncoder, TINY_REFERENCE)
    one = encoder(sample[:1]).expand(3)
    three = encoder(sample[:1].expand(3, -1, -1, -1))
    torch.testing.assert_close(one.canonical, three.canonical)


def test_no_motion_is_no_flow(sample):
    features = build(LiteReferenceEncoder, TINY_REFERENCE)(sample)
    features["depth"] = torch.zeros_like(features.depth)
    out, _ = run_warp(build(LiteWarpField, TINY_WARP), features)
    fine, axis = ((torch.arange(side) + 0.5) * 2 / side - 1 for side in (32, 16))
    torch.testing.assert_close(out.flow[0, 0, 5, 1:-1], fine[1:-1], atol=1e-4, rtol=0)
    torch.testing.assert_close(out.forward_map[1, 1, 1:-1, 7], axis[1:-1], atol=1e-4, rtol=0)


def test_expression_moves_points(sample):
    features = build(LiteReferenceEncoder, TINY_REFERENCE)(sample)
    field = build(LiteWarpField, TINY_WARP)
    with torch.no_grad():
        field.field.patterns.normal_()
        field.field.mix.normal_(std=0.01)
    same, _ = run_warp(field, features)
    other, _ = run_warp(field, features, scale=-1.0)
    assert (same.forward_map - other.forward_map).abs().max() > 1e-6


def test_measured_face_decides_inside_and_the_encoder_outside(sample):
    features = build(LiteReferenceEncoder, TINY_REFERENCE)(sample)
    field = build(LiteWarpField, TINY_WARP)
    known = torch.zeros(2, 1, 64, 64)
    known[:, :, 16:48, 16:48] = 1
    measured = torch.full((2, 3, 64, 64), 0.25)
    geometry = field.fit(features, measured, known, 0 * known, torch.eye(3).expand(2, 3, 3), torch.ones(2))
    torch.testing.assert_close(geometry.canonical[:, :, 20:44, 20:44], measured[:, :, 20:44, 20:44])
    assert (geometry.canonical[:, :, 0, 0] - 0.25).abs().max() > 1e-3
    torch.testing.assert_close(geometry.rigidity[:, :, 20:44, 20:44], torch.ones(2, 1, 24, 24))


def test_denoiser_predicts_a_clean_frame_and_a_mask(sample):
    features = build(LiteReferenceEncoder, TINY_REFERENCE)(sample)
    field, latent = run_warp(build(LiteWarpField, TINY_WARP), features)
    denoiser = build(LiteDenoiser, TINY_DENOISER)
    noisy, warped = torch.randn(2, 48, 16, 16), torch.zeros(2, 48, 16, 16)
    tokens = torch.stack([latent, latent], 1)
    arguments = (warped, torch.ones(2, 1, 16, 16), field.condition, tokens, features.context)
    early = denoiser(noisy, torch.ones(2), *arguments)
    late = denoiser(noisy, torch.full((2,), 0.2), *arguments)
    assert early.sample.shape == (2, 48, 16, 16)
    assert early.mask_logits.shape == (2, 16, 16, 16)
    torch.testing.assert_close(early.sample, denoiser(noisy, torch.ones(2), *arguments).sample)
    assert late.sample.shape == early.sample.shape


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        (LiteMotionEncoder, TINY_MOTION),
        (LiteReferenceEncoder, TINY_REFERENCE),
        (LiteWarpField, TINY_WARP),
        (LiteDenoiser, TINY_DENOISER),
    ],
)
def test_save_and_load_keep_every_weight(cls, config, tmp_path):
    model = build(cls, config)
    model.save_pretrained(tmp_path)
    again = cls.from_pretrained(tmp_path)
    assert cls.__module__ == "portrait_anim.models"
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)
