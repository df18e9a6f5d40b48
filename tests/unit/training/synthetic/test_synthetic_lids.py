"""Lids that close really close, whoever it is, and look like skin with a line of lashes."""

import pytest
import torch

from portrait_anim.training.synthetic import camera
from portrait_anim.training.synthetic.lids import FAR_FROM_LASHES, lash_distance, lash_shade, shut
from portrait_anim.training.synthetic.mesh import EYE_LEFT, EYE_RIGHT, SKIN, load_mesh
from portrait_anim.training.synthetic.motion import Gesture
from portrait_anim.training.synthetic.pack import Pack
from portrait_anim.training.synthetic.posing import pose_head
from portrait_anim.training.synthetic.raster import rasterize
from portrait_anim.training.synthetic.renderer import Renderer

PEOPLE = (42, 451, 707, 857, 380, 767)
SIDE = 384


@pytest.fixture(scope="module")
def renderer(pack: Pack) -> Renderer:
    return Renderer.from_pack(pack, numbers=PEOPLE, size_px=SIDE)


def blinking(renderer: Renderer, closure: float, yaw: float = 0.0) -> tuple[torch.Tensor, Gesture]:
    """Everybody with lids closed that far."""
    n = len(renderer.cast.people)
    statistics = renderer.statistics
    expr = statistics.set_blink(torch.zeros(n, 53), torch.full((n, 2), closure))
    head = torch.zeros(n, 3)
    head[:, 0] = yaw
    return torch.arange(n), Gesture(expr=expr, head=head, shift=torch.zeros(n, 3), gaze=torch.zeros(n, 2))


def opening_px(renderer: Renderer, closure: float, yaw: float = 0.0) -> torch.Tensor:
    """Pixels of each person through which an eyeball shows, `(n,)`."""
    who, gesture = blinking(renderer, closure, yaw)
    mesh = renderer.cast.mesh
    head = pose_head(mesh, renderer.cast.people, who, renderer.motion_of(who, gesture))
    xy = renderer.window.to_pixels(camera.project(head.vertices), SIDE)
    ids, _ = rasterize(xy, -head.vertices[..., 2], mesh.tris, (SIDE, SIDE), plane=mesh.plane, planes=2)
    part = torch.where(ids[:, 0] >= 0, mesh.part[ids[:, 0]], SKIN)
    return ((part == EYE_LEFT) | (part == EYE_RIGHT)).sum((1, 2))


@pytest.mark.parametrize("yaw", [-20.0, 0.0, 20.0])
def test_a_closed_eye_shows_nothing_of_the_eyeball(renderer: Renderer, yaw: float) -> None:
    wide, half, closed = (opening_px(renderer, c, yaw) for c in (0.0, 0.5, 1.0))
    assert (wide > 300).all()
    assert (half < 0.8 * wide).all()
    assert (half > 0.1 * wide).all()
    assert closed.max() <= 2  # of some hundred pixels


def test_a_closed_lid_has_the_colour_of_skin_above_a_dark_line(renderer: Renderer) -> None:
    who, gesture = blinking(renderer, 1.0)
    image = renderer.render(who, renderer.motion_of(who, gesture)).image
    head = pose_head(renderer.cast.mesh, renderer.cast.people, who, renderer.motion_of(who, gesture))
    lids = renderer.cast.mesh.lids
    seam = renderer.window.to_pixels(camera.project(head.vertices[:, lids.lower[:, 4:11].flatten()]), SIDE)
    up = seam.new_tensor([0.0, 1.0])
    line = torch.stack([at(image, seam + dy * up).mean(1) for dy in (-3, -2, -1, 0, 1, 2)]).amin(0)  # (n, m)
    lid, cheek = at(image, seam - 8 * up).mean(1), at(image, seam + 14 * up).mean(1)
    assert (line.mean(1) < 0.75 * lid.mean(1)).all()
    assert ((lid.mean(1) / cheek.mean(1)).log().abs() < 0.5).all()
    assert (lid.std(1) < 0.15 * lid.mean(1)).all()  # neither lashes nor an iris across the lid


def at(image: torch.Tensor, xy: torch.Tensor) -> torch.Tensor:
    """Colours `(n, 3, m)` at pixel positions `(n, m, 2)`."""
    grid = (xy * (2 / SIDE) - 1)[:, None]
    return torch.nn.functional.grid_sample(image, grid, align_corners=False)[:, :, 0]


def test_the_gap_is_taken_away_only_from_lids_that_close(pack: Pack) -> None:
    mesh = load_mesh(pack, torch.device("cpu"))
    heads, upright = mesh.neutral[None], torch.eye(3)[None]
    assert shut(mesh.lids, heads, torch.tensor([[0.2, 0.0]]), upright).abs().max() == 0
    moved = heads.clone()
    moved[:, mesh.lids.rows] += shut(mesh.lids, heads, torch.tensor([[1.0, 0.0]]), upright)
    gap = (moved[0, mesh.lids.upper] - moved[0, mesh.lids.lower])[..., 1]
    assert gap[0].abs().max() < 0.25
    assert gap[1].min() > 0.3
    assert (mesh.neutral[mesh.lids.upper[0], 0] > 0).all()
    assert (mesh.neutral[mesh.lids.upper[1], 0] < 0).all()


def test_open_eyes_get_no_painted_lashes(pack: Pack) -> None:
    lids = load_mesh(pack, torch.device("cpu")).lids
    V = lids.skin.shape[0]
    assert lash_distance(lids, torch.zeros(1, V)).min() >= FAR_FROM_LASHES
    shade = lash_shade(lash_distance(lids, torch.ones(1, V)))
    assert shade.min() < 0.3
    assert lash_shade(torch.tensor([FAR_FROM_LASHES]))[0] > 0.999
