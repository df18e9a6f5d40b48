"""Other people from the same photographs, while the photographs stay what they are."""

from dataclasses import fields

import pytest
import torch

from portrait_anim.training.synthetic.mesh import load_mesh
from portrait_anim.training.synthetic.pack import Pack
from portrait_anim.training.synthetic.people import Cast
from portrait_anim.training.synthetic.posing import pose_head
from portrait_anim.training.synthetic.renderer import Renderer
from portrait_anim.training.synthetic.samples import draw_batch
from portrait_anim.training.synthetic.variation import (
    Variation,
    choose,
    concatenate,
    draw_variation,
    recolour,
    untouched,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(a: Variation, b: Variation) -> bool:
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Variation))


def test_variations_repeat_and_differ(toy_cast: Cast) -> None:
    who = torch.tensor([0, 1, 1])
    drawn = draw_variation(toy_cast.people, who, generator())
    assert same(drawn, draw_variation(toy_cast.people, who, generator()))
    assert not torch.equal(drawn.skin[1], drawn.skin[2])
    assert len(concatenate([drawn, drawn])) == 6
    assert same(choose(torch.zeros(3, dtype=torch.bool), drawn, untouched(toy_cast.people, who)).rows(who[:1]),
                untouched(toy_cast.people, who).rows(who[:1]))  # fmt: skip
    nothing = draw_variation(toy_cast.people, who, generator(), strength=0.0)
    assert nothing.reshape.abs().max() == 0
    torch.testing.assert_close(nothing.lamp, toy_cast.people.lamp[who])
    with pytest.raises(ValueError, match="at least 0"):
        draw_variation(toy_cast.people, who, generator(), strength=-1.0)


def test_the_untouched_variation_renders_the_same_picture(toy_cast: Cast) -> None:
    renderer, who = Renderer(toy_cast, size_px=48), torch.tensor([2, 0])
    varied = renderer.varied(who, untouched(toy_cast.people, who))
    rows = torch.arange(2)
    plain = renderer.render(who, renderer.motion_of(who, renderer.photographed(who))).image
    again = varied.render(rows, varied.motion_of(rows, varied.photographed(rows))).image
    torch.testing.assert_close(plain, again, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="variation of 1 people"):
        renderer.varied(who[:1], untouched(toy_cast.people, who))


def test_a_variation_changes_head_and_colour_but_not_the_photograph(toy_cast: Cast) -> None:
    renderer, who = Renderer(toy_cast, size_px=48), torch.arange(3)
    varied = renderer.varied(who, draw_variation(toy_cast.people, who, generator(1)))
    motion = renderer.motion_of(who, renderer.photographed(who))
    heads = [pose_head(r.cast.mesh, r.cast.people, who, motion).vertices for r in (renderer, varied)]
    assert (heads[0] - heads[1]).norm(dim=-1).mean() > 0.05  # cm
    images = [r.render(who, motion).image.mean((2, 3)) for r in (renderer, varied)]
    assert ((images[0] - images[1]).abs().amax(1) > 0.005).all()
    assert torch.equal(renderer.photos(who), varied.photos(who))
    assert toy_cast.people.reshape.abs().max() == 0


def test_samples_with_a_photograph_keep_its_person(toy_cast: Cast) -> None:
    renderer = Renderer(toy_cast, size_px=32)
    shares = {"photo_target": 0.4, "two_renders": 0.3}
    plain = draw_batch(renderer, 24, generator(2), varied=False, **shares)
    varied = draw_batch(renderer, 24, generator(2), **shares)
    photo = varied.role.any(1)
    assert 0 < photo.sum() < 24
    for name in ("source", "target"):
        before, after = (getattr(b, name).int() for b in (plain, varied))
        assert (before - after)[photo].abs().max() <= 1
        assert ((before - after)[~photo].abs().flatten(1).float().mean(1) > 0.5).all()
    assert ((plain.driver.int() - varied.driver.int()).abs().flatten(1).float().mean(1) > 0.5).all()
    assert torch.equal(plain.expr_drv, varied.expr_drv)
    assert torch.equal(plain.who, varied.who)


def test_skin_is_told_from_hair_and_background() -> None:
    image = torch.full((1, 3, 16, 48), 0.6)
    image[..., 16:32] = 0.05  # hair
    person, opening = torch.ones(1, 1, 16, 48), torch.zeros(1, 1, 16, 48)
    person[..., 32:] = 0
    opening[..., :4] = 1
    none = torch.zeros(1, 3)
    variation = Variation(
        reshape=torch.zeros(1, 4), lamp=torch.zeros(1, 9), skin=none - 0.3, drift=torch.zeros(1, 3, 4),
        hair=none + 0.2, backdrop=none + 0.4, glasses=torch.zeros(1, 12),
    )  # fmt: skip
    out = recolour(variation, image, torch.zeros(1, 16, 48, 2), person, opening, torch.full((1, 3), 0.6))
    ratio = (out / image)[0, 0, 8]
    assert ratio[1] == pytest.approx(1.0, abs=0.01)  # an eye
    assert ratio[10] == pytest.approx(0.741, abs=0.02)  # skin
    assert 1.1 < ratio[24] < 1.23  # hair
    assert 1.1 < ratio[40] < 1.5  # background


def test_skin_tones_of_the_pack_stay_plausible(pack: Pack) -> None:
    renderer = Renderer.from_pack(pack, numbers=(42, 451, 380, 857), size_px=32)
    who = torch.arange(4).repeat(200)
    drawn = draw_variation(renderer.cast.people, who, generator(3))
    tone = renderer.cast.people.skin[who] * drawn.skin.exp()
    assert tone.mean(1).min() > 0.08
    assert tone.mean(1).max() < 0.95
    assert (tone[:, 0] > 0.95 * tone[:, 2]).float().mean() > 0.97  # skin is not bluer than red
    assert drawn.skin.mean(1).std() > 0.1
    spread = (drawn.reshape @ load_mesh(pack, torch.device("cpu")).identity_basis).view(len(who), -1, 3)
    assert 0.05 < spread.norm(dim=-1).mean() < 1.2  # cm
