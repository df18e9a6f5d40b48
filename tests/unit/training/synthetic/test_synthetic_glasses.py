"""Glasses are rigid: they follow the head, whatever the face does, and their correspondence says so."""

from dataclasses import replace

import pytest
import torch

from portrait_anim.training.synthetic import camera
from portrait_anim.training.synthetic.flow import follow, view, visibility
from portrait_anim.training.synthetic.glasses import PARAMETERS, FramePose, draw_glasses, front
from portrait_anim.training.synthetic.motion import Gesture
from portrait_anim.training.synthetic.pack import Pack
from portrait_anim.training.synthetic.people import Cast, load_cast
from portrait_anim.training.synthetic.renderer import RenderedBatch, Renderer
from portrait_anim.training.synthetic.variation import draw_variation, untouched

SIDE = 128


def wearing(cast: Cast) -> Renderer:
    """Everybody of the cast with glasses and no other change."""
    who = torch.arange(len(cast.people))
    worn = draw_glasses(len(who), torch.Generator().manual_seed(1), torch.device("cpu"), share=1.0)
    renderer = Renderer(cast, size_px=SIDE)
    return renderer.varied(who, replace(untouched(cast.people, who), glasses=worn))


def shown(renderer: Renderer, yaw: float, **expression: float) -> RenderedBatch:
    n = len(renderer.cast.people)
    head = torch.tensor([[yaw, 0.3 * yaw, -0.2 * yaw]]).expand(n, 3)
    expr = renderer.statistics.shape(**expression).expand(n, -1)
    gesture = Gesture(expr=expr, head=head, shift=torch.zeros(n, 3), gaze=torch.zeros(n, 2))
    who = torch.arange(n)
    return renderer.render(who, renderer.motion_of(who, gesture))


def test_flow_of_glasses_is_the_rigid_motion_of_the_head(toy_cast: Cast) -> None:
    renderer = wearing(toy_cast)
    who = torch.arange(3)
    source, target = shown(renderer, -9.0, browInnerUp=1.0), shown(renderer, 11.0, jawOpen=0.6)
    views = [view(renderer, who, who, frames) for frames in (source, target)]
    place = follow(*views)
    visible = visibility(*views, place)
    assert source.glasses is not None
    assert target.glasses is not None
    worn, posed, _ = target.glasses
    at = posed.place(renderer.pixels.expand(3, SIDE, SIDE, 2))
    near = (at.abs().amax(-1) < 6).nonzero(as_tuple=True)
    inside = front(worn[near[0]], at[near])[0][:, 0] < -0.03
    cell = tuple(index[inside] for index in near)
    assert len(cell[0]) > 200
    rigid = source.glasses[1].point(cell[0], at[cell])
    miss = (place[cell] - rigid).norm(dim=1) * (SIDE / renderer.window.span)
    assert miss.median() < 0.15  # px
    assert miss.quantile(0.9) < 0.6
    assert visible[cell[0], 0, cell[1], cell[2]].mean() > 0.8


def test_an_expression_moves_the_skin_but_not_the_glasses(toy_cast: Cast) -> None:
    renderer = wearing(toy_cast)
    still, moved = shown(renderer, 5.0), shown(renderer, 5.0, browInnerUp=1.0)
    assert still.glasses is not None
    assert moved.glasses is not None
    torch.testing.assert_close(still.glasses[1].centre, moved.glasses[1].centre)
    assert (still.vertices - moved.vertices).abs().max() > 5  # photo units


def test_glasses_change_the_picture_only_around_the_eyes(toy_cast: Cast) -> None:
    bare, worn = (shown(r, 0.0).image for r in (Renderer(toy_cast, size_px=SIDE), wearing(toy_cast)))
    change = (bare - worn).abs().amax((0, 1))
    rows = change.amax(1).gt(0.02).nonzero()
    assert change.max() > 0.2
    assert rows.min() > 20
    assert rows.max() < 75  # below lies the mouth


def test_a_rim_has_its_thickness() -> None:
    glasses = torch.zeros(1, PARAMETERS)
    glasses[0, :6] = torch.tensor([1.0, 2.4, 1.6, 2.0, 0.2, 1.0])
    across = torch.stack([torch.linspace(5.4, 6.1, 701), torch.zeros(701)], 1)
    edge, lens = front(glasses.expand(701, -1), across)
    assert ((edge < 0).sum() * 0.001).item() == pytest.approx(0.2, abs=0.01)
    assert lens[0] < 0 < lens[-1]


def test_who_gets_glasses(pack: Pack) -> None:
    people = load_cast(pack, numbers=(283, 423, 878, 42, 857, 119)).people
    assert people.spectacled.tolist() == [True, True, True, False, False, False]
    who = torch.arange(6).repeat(200)
    worn = draw_variation(people, who, torch.Generator().manual_seed(0)).glasses[:, 0]
    assert worn[people.spectacled[who]].max() == 0
    assert 0.15 < worn[~people.spectacled[who]].mean() < 0.3


def test_planes_and_rays_agree() -> None:
    axes = camera.euler(torch.tensor([20.0]), torch.tensor([5.0]), torch.tensor([-7.0]))
    pose = FramePose(centre=torch.tensor([[1.0, 2.0, -58.0]]), axes=axes)
    places = torch.tensor([[1.5, -0.7], [-4.0, 0.3]])
    seen = pose.point(torch.zeros(2, dtype=torch.long), places)
    torch.testing.assert_close(pose.place(seen[None, None])[0, 0], places, atol=1e-3, rtol=0)
