"""Lip edges of real people of the pack, and tongues that a reader can be taught with."""

import pytest
import torch

from portrait_anim.loading import load_pipeline
from portrait_anim.training import tongue_pictures
from portrait_anim.training.crops import cut
from portrait_anim.training.synthetic.crops import crop_renderer
from portrait_anim.training.synthetic.lip_edges import draw_lip_pictures, edge_vertices
from portrait_anim.training.synthetic.renderer import Renderer
from portrait_anim.training.tongue_pictures import lip_geometry, mirrored, put_out_tongues

COUNT = 12


@pytest.fixture(scope="module")
def renderer(pack):
    return crop_renderer(Renderer.from_pack(pack, numbers=[24, 36, 48, 300, 600]))


@pytest.fixture(scope="module")
def stored(renderer):
    return draw_lip_pictures(renderer, COUNT, torch.Generator().manual_seed(0)).as_dict()


def ready_of(stored, flip=False):
    return mirrored(stored, torch.full((COUNT,), flip))


def test_edges_go_from_corner_to_corner_and_the_jaw_parts_them(renderer):
    mesh = renderer.cast.mesh
    upper, lower = mesh.neutral[edge_vertices(mesh)]
    for edge in (upper, lower):
        assert (edge[:, 0].diff() > 0).all()
    assert torch.equal(upper[[0, -1]], lower[[0, -1]])
    jaw = mesh.expression_basis.view(53, -1, 3)[mesh.expression_index("jawOpen")]
    drop = jaw[edge_vertices(mesh), 1]
    assert (drop[0, 4:7] - drop[1, 4:7] > 2).all()  # [cm]


def test_tongues_are_drawn_at_the_mouth_where_the_label_says_so(stored, monkeypatch):
    monkeypatch.setattr(tongue_pictures, "_FINGER", 0.0)
    ready = ready_of(stored)
    picture, shown = put_out_tongues(ready, torch.Generator().manual_seed(1), share=0.6)
    out = shown[:, 0] > 0
    assert 0 < out.sum() < COUNT
    changed = (picture - ready["picture"]).abs().amax(1)
    edges, *_ = lip_geometry(ready)
    side = changed.shape[-1]
    mouth = ((edges.mean((1, 2)) + 1) / 2 * side).long()
    strong = shown[:, 0] > 0.4
    assert strong.any()
    for k in strong.nonzero()[:, 0].tolist():
        x, y = mouth[k].tolist()
        assert changed[k, y - 4 : y + 24, x - 16 : x + 16].amax() > 0.05
        assert changed[k, : side // 4].amax() < 1e-6


def test_mirrored_faces_have_mirrored_edges(stored):
    here, there = (lip_geometry(ready_of(stored, flip))[0] for flip in (False, True))
    torch.testing.assert_close(there, here.flip(2) * torch.tensor([-1.0, 1.0]), atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_shipped_encoder_reads_a_tongue_that_is_out_higher_than_the_same_face_without(stored, monkeypatch):
    monkeypatch.setattr(tongue_pictures, "_FINGER", 0.0)
    ready = ready_of(stored)
    picture, shown = put_out_tongues(ready, torch.Generator().manual_seed(2), share=1.0)
    encoder = load_pipeline().motion_encoder
    with_tongue, without = (
        encoder(cut({**ready, "picture": p}, torch.Generator().manual_seed(0), 0.0).image * 2 - 1).tongue[:, 0]
        for p in (picture, ready["picture"])
    )
    far = shown[:, 0] > 0.35
    assert (with_tongue - without)[far].min() > 0
    assert (with_tongue - without)[far].mean() > 0.3
    assert without.mean() < 0.1
