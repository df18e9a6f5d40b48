from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from portrait_anim.errors import InputError
from portrait_anim.training.synthetic.actors import ActorRecipe, Donor, make_actor
from portrait_anim.training.synthetic.build_samples import ASSETS, SampleBuilder, main
from portrait_anim.training.synthetic.pack import Pack
from portrait_anim.training.synthetic.people import Cast, load_cast
from portrait_anim.training.synthetic.performances import ACTOR_A, ACTOR_B, ACTOR_C, ACTOR_D
from portrait_anim.training.synthetic.renderer import Renderer


@pytest.fixture
def recipe() -> ActorRecipe:
    donors = (Donor(number=2, skin=0.5, shape=0.5), Donor(number=3, skin=0.4, shape=-0.2))
    return ActorRecipe(base=1, donors=donors, shape_noise=0.5, seed=7)


def test_an_actor_is_nobody_of_the_cast(toy_cast: Cast, recipe: ActorRecipe) -> None:
    actor = make_actor(toy_cast, recipe)
    assert len(actor.people) == 1
    assert actor.people.number.item() == -1
    assert actor.people.reshape.abs().max() > 0.1
    face = slice(44, 84)
    change = actor.textures.photo[0].int() - toy_cast.textures.photo[0].int()
    assert change[:, face, face].abs().float().mean() > 3
    assert toy_cast.people.reshape.abs().max() == 0  # the cast is not changed


def test_the_same_recipe_gives_the_same_actor(toy_cast: Cast, recipe: ActorRecipe) -> None:
    one, two = make_actor(toy_cast, recipe), make_actor(toy_cast, recipe)
    assert torch.equal(one.people.reshape, two.people.reshape)
    assert torch.equal(one.textures.photo, two.textures.photo)
    other = make_actor(toy_cast, replace(recipe, seed=8))
    assert not torch.equal(one.people.reshape, other.people.reshape)


def test_an_actor_can_be_rendered(toy_cast: Cast, recipe: ActorRecipe) -> None:
    renderer = Renderer(make_actor(toy_cast, recipe), size_px=32)
    who = torch.zeros(1, dtype=torch.long)
    image = renderer.render(who, renderer.motion_of(who, renderer.photographed(who))).image
    assert torch.isfinite(image).all()
    assert image.std() > 0.05


def test_grading_and_backdrop(toy_cast: Cast) -> None:
    plain = make_actor(toy_cast, ActorRecipe(base=1, donors=(Donor(number=2), Donor(number=3))))
    graded = ActorRecipe(
        base=1, donors=(Donor(number=2), Donor(number=3)), gain=(0.5, 1.0, 1.0), gamma=1.2, backdrop=(0.1, 0.5, 0.9)
    )
    actor = make_actor(toy_cast, graded)
    red, green = (actor.textures.photo[0, c].float().mean() / plain.textures.photo[0, c].float().mean() for c in (0, 1))
    assert red < 0.6 * green
    plate = actor.textures.plate[0].float().mean((1, 2))
    assert plate[0] < plate[1] < plate[2]


def test_wrong_people_and_shares_are_refused(toy_cast: Cast) -> None:
    with pytest.raises(ValueError, match="in that order"):
        make_actor(toy_cast, ActorRecipe(base=2))
    with pytest.raises(ValueError, match="skin shares"):
        ActorRecipe(base=1, donors=(Donor(number=2, skin=0.7), Donor(number=3, skin=0.7)))


def test_sample_actors_are_different_people_made_of_several() -> None:
    actors = (ACTOR_A, ACTOR_B, ACTOR_C, ACTOR_D)
    assert len({actor.base for actor in actors}) == 4
    assert all(sum(d.skin for d in actor.donors) >= 0.9 and actor.shape_noise >= 0.5 for actor in actors)


def test_building_needs_a_pack_and_a_known_asset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        main(["--pack", str(tmp_path / "none.npz"), "--out", str(tmp_path / "out")])
    builder = SampleBuilder(Pack(arrays={}, path=tmp_path), tmp_path / "out")
    with pytest.raises(ValueError, match=str(ASSETS[0])):
        builder.build("nobody")


@pytest.mark.slow
def test_a_portrait_is_built_from_the_pack(pack: Pack, tmp_path: Path) -> None:
    builder = SampleBuilder(pack, tmp_path)
    (path,) = builder.build("portrait")
    assert path.stat().st_size > 10_000
    cast = load_cast(pack, numbers=ACTOR_A.numbers)
    assert not np.array_equal(make_actor(cast, ACTOR_A).textures.photo[0], cast.textures.photo[0])
