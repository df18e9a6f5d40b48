"""A toy cast (a painted half-ellipsoid that can open its mouth) and, where the data pack is at hand, real people."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from portrait_anim.training.synthetic.camera import FRAME
from portrait_anim.training.synthetic.lids import FAR_FROM_LASHES, LidMap
from portrait_anim.training.synthetic.mesh import HeadMesh, InnerMouth
from portrait_anim.training.synthetic.mouth import map_teeth
from portrait_anim.training.synthetic.pack import Pack, read_pack
from portrait_anim.training.synthetic.people import Cast, People
from portrait_anim.training.synthetic.shading import luminance, vertex_normals
from portrait_anim.training.synthetic.textures import Textures
from portrait_anim.training.synthetic.wrinkles import map_folds

SHARED = Path(__file__).parents[4] / ".." / "shared" / "data"
PACK = SHARED / "pack" / "omi_pack.npz"

EXPRESSIONS = (
    "browDown_L", "browDown_R", "browInnerUp_L", "browInnerUp_R", "browOuterUp_L", "browOuterUp_R", "cheekPuff_L",
    "cheekPuff_R", "cheekSquint_L", "cheekSquint_R", "eyeBlink_L", "eyeBlink_R", "eyeLookDown_L", "eyeLookDown_R",
    "eyeLookIn_L", "eyeLookIn_R", "eyeLookOut_L", "eyeLookOut_R", "eyeLookUp_L", "eyeLookUp_R", "eyeSquint_L",
    "eyeSquint_R", "eyeWide_L", "eyeWide_R", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose",
    "mouthDimple_L", "mouthDimple_R", "mouthFrown_L", "mouthFrown_R", "mouthFunnel", "mouthLeft",
    "mouthLowerDown_L", "mouthLowerDown_R", "mouthPress_L", "mouthPress_R", "mouthPucker", "mouthRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmile_L", "mouthSmile_R",
    "mouthStretch_L", "mouthStretch_R", "mouthUpperUp_L", "mouthUpperUp_R", "noseSneer_L", "noseSneer_R",
)  # fmt: skip


@pytest.fixture(scope="session")
def expression_names() -> tuple[str, ...]:
    return EXPRESSIONS


@pytest.fixture(scope="session")
def pack() -> Pack:
    if not PACK.is_file():
        pytest.skip("needs the data pack of synthetic people beside the repository (shared/data/pack)")
    return read_pack(PACK)


def _toy_mesh(side: int = 17) -> HeadMesh:
    """A half-ellipsoid of 14 x 18 cm facing the camera, with eyes, a mouth opening and an interior behind it."""
    line = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(-line, line, indexing="ij")
    z = (1 - 0.45 * (x * x + y * y)).clamp(min=0)
    outer = torch.stack([7 * x, 9 * y, 7 * z], -1).view(-1, 3)
    n = torch.arange(side * side).view(side, side)
    a, b, c, d = (q.flatten() for q in (n[:-1, :-1], n[:-1, 1:], n[1:, :-1], n[1:, 1:]))
    tris = torch.cat([torch.stack([a, c, b], 1), torch.stack([b, c, d], 1)])
    middle = outer[tris].mean(1)
    part = torch.zeros(len(tris), dtype=torch.int8)
    part[(middle[:, 0].abs() < 1.8) & ((middle[:, 1] + 4.2).abs() < 0.7)] = 2
    part[((middle[:, 0] - 3).abs() < 1.0) & ((middle[:, 1] - 2.5).abs() < 0.7)] = 3
    part[((middle[:, 0] + 3).abs() < 1.0) & ((middle[:, 1] - 2.5).abs() < 0.7)] = 4
    mouth = tris[part == 2]
    inner_tris = mouth + len(outer)  # the same surface again, 1 cm deeper, as gums and teeth
    inner_part = torch.full((len(mouth),), 6, dtype=torch.int8)
    vertices = torch.cat([outer, outer - torch.tensor([0.0, 0.0, 1.0])])
    V = len(vertices)
    expression = torch.zeros(len(EXPRESSIONS), V, 3)
    low = ((-4.2 - vertices[:, 1]) / 2).clamp(0, 1)
    expression[EXPRESSIONS.index("jawOpen"), :, 1] = -2.0 * low
    brow = torch.exp(-(((vertices[:, 1] - 4) / 1.5) ** 2))
    expression[EXPRESSIONS.index("browInnerUp_L"), :, 1] = 0.7 * brow * (vertices[:, 0] > 0)
    expression[EXPRESSIONS.index("browInnerUp_R"), :, 1] = 0.7 * brow * (vertices[:, 0] <= 0)
    identity = torch.zeros(4, V, 3)
    identity[0, :, 0] = 0.08 * vertices[:, 0]  # wider
    identity[1, :, 1] = 0.06 * vertices[:, 1]  # longer
    edge = torch.cat([torch.stack([x.abs(), y.abs()]).amax(0).view(-1)] * 2)
    zero = torch.zeros(V)
    is_tooth = zero.clone().index_fill_(0, inner_tris.unique(), 1.0)
    return HeadMesh(
        neutral=vertices,
        centre=torch.zeros(3),
        tris=torch.cat([tris, inner_tris]),
        plane=torch.cat([torch.zeros(len(tris)), torch.ones(len(inner_tris))]).long(),
        part=torch.cat([part, inner_part]),
        normal_tris=torch.cat([tris, inner_tris]),
        identity_basis=identity.flatten(1),
        expression_basis=expression.flatten(1),
        expression_names=EXPRESSIONS,
        weights={
            "alpha": ((1 - edge) / 0.2).clamp(0, 1),
            "eye_near": torch.exp(-(((vertices[:, 1] - 2.5) / 1.5) ** 2)),
            "lid": zero, "lash": zero, "tongue": zero, "upper": zero,
        },
        skin_vertices=torch.arange(len(outer)),
        lips=mouth.unique(),
        left=(vertices[:, 0] > 0).float(),
        chin=(torch.tensor([0.0, -9.0, 3.0]), torch.zeros(4, 3), torch.zeros(len(EXPRESSIONS), 3)),
        inner=InnerMouth(is_tooth=is_tooth, is_gum=zero, teeth=map_teeth(vertices, inner_tris, zero)),
        lids=_no_lids(V),
        folds=map_folds(EXPRESSIONS, torch.device("cpu")),
    )  # fmt: skip


def _no_lids(V: int) -> LidMap:
    """Eye openings that never close."""
    none = torch.zeros(0, dtype=torch.long)
    return LidMap(
        upper=torch.zeros(2, 1, dtype=torch.long), lower=torch.zeros(2, 1, dtype=torch.long), rows=none,
        follow=torch.zeros(0, 2), lash=torch.full((2, V), FAR_FROM_LASHES), skin=torch.zeros(V), donors=none,
        colour=torch.zeros(0, 0), skinned=none,
    )  # fmt: skip


def _toy_people(mesh: HeadMesh, N: int) -> People:
    position = torch.tensor([0.0, 0.0, -60.0])
    identity = torch.zeros(N, 4)
    identity[:, 0] = torch.linspace(-0.5, 0.5, N)
    expression = torch.zeros(N, len(EXPRESSIONS))
    vertices = mesh.shape(identity, expression) + position
    light = torch.zeros(N, 9)
    light[:, 0], light[:, 2] = 0.6, 0.2
    V, G = vertices.shape[1], 16
    eyes = torch.tensor([[3.0, 2.5, 3.5], [-3.0, 2.5, 3.5]]) + position
    return People(
        number=torch.arange(1, N + 1),
        identity=identity,
        reshape=torch.zeros(N, 4),
        expression=expression,
        rotation=torch.eye(3).expand(N, 3, 3).clone(),
        position=position.expand(N, 3).clone(),
        vertices=vertices,
        residual=torch.zeros(N, V, 2),
        visible=torch.ones(N, V),
        fill=torch.full((N, V, 3), 0.5),
        skin=torch.full((N, 3), 0.5),
        light=light,
        lamp=light,
        shade=luminance(vertex_normals(vertices, mesh.normal_tris), light),
        mouth_light=torch.ones(N),
        teeth=mesh.inner.is_tooth.expand(N, V).clone(),
        enamel=torch.full((N, 3), torch.nan),
        pivot=(position + torch.tensor([0.0, -4.0, -1.0])).expand(N, 3).clone(),
        chin_height=torch.full((N,), -9.0),
        shallow=torch.full((N, G, G), -57.0),
        deep=torch.full((N, G, G), -60.0),
        grid_fall=torch.full((N, G, G), 0.3),
        eye_centre=eyes.expand(N, 2, 3).clone(),
        eye_radius=torch.full((N, 2), 2.0),
        eye_frame=torch.eye(3).expand(N, 2, 3, 3).clone(),
        gaze=torch.zeros(N, 2),
        yaw=torch.zeros(N),
        border=torch.zeros(N, 2),
        fit_error=torch.zeros(N),
        spectacled=torch.zeros(N, dtype=torch.bool),
    )


def _toy_textures(N: int, side: int = 128) -> Textures:
    """Smooth colourful photographs, so that warps can be compared."""
    line = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(line, line, indexing="ij")
    photos, layers = [], []
    radius = (((x - 0.5) / 0.40) ** 2 + ((y - 0.5) / 0.47) ** 2).sqrt()
    alpha = ((1.1 - radius) / 0.15).clamp(0, 1)
    for k in range(N):
        waves = [torch.sin(2 * math.pi * (f * x + g * y) + k) for f, g in ((3, 1), (1, 4), (2, -3))]
        photo = 0.5 + 0.3 * torch.stack(waves)
        photos.append(photo)
        layers.append(torch.cat([photo, alpha[None]]))
    to_uint8 = lambda t: (t.clamp(0, 1) * 255).to(torch.uint8)  # noqa: E731
    return Textures(
        photo=to_uint8(torch.stack(photos)),
        layer=to_uint8(torch.stack(layers)),
        plate=torch.full((N, 3, side, side), 90, dtype=torch.uint8),
        eye=torch.full((N, 2, 16, 16, 3), 200, dtype=torch.uint8),
    )


@pytest.fixture(scope="session")
def toy_cast() -> Cast:
    mesh = _toy_mesh()
    assert FRAME == 1024
    return Cast(mesh=mesh, people=_toy_people(mesh, 3), textures=_toy_textures(3))
