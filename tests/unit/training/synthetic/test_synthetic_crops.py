"""Groups for the motion encoder: two people, two gestures, labels that fit the pictures."""

import torch

from portrait_anim.training import crops
from portrait_anim.training.networks import LiteNetworks
from portrait_anim.training.synthetic.crops import SIZE_PX, crop_renderer, draw_groups
from portrait_anim.training.synthetic.renderer import Renderer


def draw(cast, seed=0, groups=3, **changes):
    return draw_groups(crop_renderer(Renderer(cast)), groups, torch.Generator().manual_seed(seed), **changes)


def test_a_group_is_two_people_with_two_gestures(toy_cast):
    found = draw(toy_cast)
    assert found.picture.shape == (3, 4, 3, SIZE_PX, SIZE_PX)
    assert found.picture.dtype == torch.uint8
    assert found.expr.shape == (3, 2, 53)
    assert (found.who[:, 0] != found.who[:, 1]).all()
    assert not torch.equal(found.picture[:, 0], found.picture[:, 1])
    assert found.head.unique(dim=1).shape == found.head.shape  # every picture has a pose of its own


def test_the_seed_decides_everything_and_the_cast_stays_as_it_was(toy_cast):
    before = toy_cast.people.reshape.clone()
    first, second, other = draw(toy_cast), draw(toy_cast), draw(toy_cast, seed=1)
    for key, value in first.as_dict().items():
        assert torch.equal(value, second.as_dict()[key])
    assert not torch.equal(first.picture, other.picture)
    assert torch.equal(toy_cast.people.reshape, before)


def test_photographs_are_untouched_and_labelled_as_they_are(toy_cast):
    found = draw(toy_cast, photo_share=1.0)
    renderer = crop_renderer(Renderer(toy_cast))
    photo = (renderer.photos(found.who[:, 0]) * 255 + 0.5).to(torch.uint8)
    assert torch.equal(found.picture[:, 0], photo)
    assert torch.equal(found.expr[:, 0], renderer.photographed(found.who[:, 0]).expr)
    torch.testing.assert_close(found.anchor[:, 0], toy_cast.people.eye_centre[found.who[:, 0]].mean(1))


def test_prepared_groups_are_mirrored_as_one(toy_cast):
    stored = draw(toy_cast, groups=8).as_dict()
    ready = crops.prepare_crops(stored, torch.Generator().manual_seed(0))
    plain = stored["picture"].flatten(0, 1).float() / 255
    same = (ready["picture"] == plain).flatten(1).all(1).view(-1, 4)
    assert (same.all(1) | ~same.any(1)).all()
    assert same.any()
    assert not same.all()
    flipped = ~same.all(1).repeat_interleave(4)
    head = stored["head"].flatten(0, 1)
    torch.testing.assert_close(ready["head"][flipped], head[flipped] * head.new_tensor([-1, 1, -1]))
    torch.testing.assert_close(ready["picture"][flipped], plain[flipped].flip(-1))


def test_crops_put_the_anchor_where_the_label_says(toy_cast):
    ready = crops.prepare_crops(draw(toy_cast).as_dict(), torch.Generator().manual_seed(0))
    still = crops.cut(ready, torch.Generator().manual_seed(1), jitter=0.0)
    assert still.image.shape == (12, 3, 128, 128)
    assert still.placement[:, 0].abs().max() < 1e-5  # the product's crop is centred between the eyes
    moved = crops.cut(ready, torch.Generator().manual_seed(1), jitter=1.0)
    assert moved.placement[:, 0].std() > 0.02
    assert not torch.equal(moved.rotation, still.rotation)


def test_what_is_read_right_costs_nothing():
    moved, weight = torch.rand(55, 6), torch.ones(6)
    true = torch.rand(8, 55)
    assert crops.landmark_loss(true, true, moved, weight) == 0
    half = crops.landmark_loss(true.mean(0).expand(8, -1), true, moved, weight)
    assert 0.9 < half <= 1.0  # saying the mean explains nothing


def test_latents_lose_what_no_head_reads_and_heads_answer_as_before():
    torch.manual_seed(0)
    nets = LiteNetworks().eval()
    picture = torch.rand(6, 3, 128, 128) * 2 - 1
    with torch.no_grad():
        before = nets.motion_encoder(picture).latent
        answer = nets.warp_field.heads(before)
        crops.drop_unread(nets)
        after = nets.motion_encoder(picture).latent
        torch.testing.assert_close(nets.warp_field.heads(after), answer, atol=1e-4, rtol=1e-3)
    gaze = nets.motion_encoder.to_latent.weight[14 * 16 :]
    assert torch.linalg.matrix_rank(gaze, rtol=1e-4) == 2  # 32 channels, two coefficients
    assert after.norm() < 0.9 * before.norm()
