"""Geometry and appearance of the people that can be rendered.

Shape legend: N people, V mesh vertices, G = 64 nodes per side of the hair grid, S photo side in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from portrait_anim.training.synthetic.dental import photographed_mouths
from portrait_anim.training.synthetic.glasses import LOOKS_LIKE_GLASSES, glasses_score
from portrait_anim.training.synthetic.lids import lid_colour
from portrait_anim.training.synthetic.mesh import NECK_JOINT_CM, HeadMesh, load_mesh
from portrait_anim.training.synthetic.pack import Pack, read_pack
from portrait_anim.training.synthetic.shading import luminance, vertex_normals
from portrait_anim.training.synthetic.textures import Textures, load_textures
from portrait_anim.types import PathLike

if TYPE_CHECKING:
    from portrait_anim.training.synthetic.variation import Variation

_CHUNK: Final = 64  # people handled at once while normals are computed (memory bound)


@dataclass(frozen=True, kw_only=True, slots=True)
class People:
    """Fitted heads of N people, each as it stands in its own photograph.

    Attributes:
        number: `(N,)` int64 identity numbers.
        identity: `(N, 100)` identity coefficients of the fit.
        reshape: `(N, 100)` identity coefficients added to the photographed person; 0 for people of the pack.
        expression: `(N, 53)` fitted expression of the photograph.
        rotation: `(N, 3, 3)` head to camera.
        position: `(N, 3)` head position [cm].
        vertices: `(N, V, 3)` fitted head in the photograph, camera space [cm].
        residual: `(N, V, 2)` part of `vertices` that the shapes do not explain [cm].
        visible: `(N, V)` how far the photograph shows a vertex, 0 to 1.
        fill: `(N, V, 3)` colour in [0, 1] where it does not.
        skin: `(N, 3)` mean colour of the skin in [0, 1].
        light: `(N, 9)` spherical harmonics of the photograph's light.
        lamp: `(N, 9)` those of the light to show the person in; the same for people of the pack.
        shade: `(N, V)` brightness under that light.
        mouth_light: `(N,)` brightness of the mouth interior.
        teeth: `(N, V)` how far the photograph may be used on teeth and gums, 0 to 1.
        enamel: `(N, 3)` photographed colour of the teeth in [0, 1], not a number where none shows.
        pivot: `(N, 3)` neck joint, camera space [cm].
        chin_height: `(N,)` height of the chin in head space [cm].
        shallow: `(N, G, G)` camera depth of the hair grid, near side of a turn [cm].
        deep: `(N, G, G)` the same for the far side.
        grid_fall: `(N, G, G)` how far expression motion reaches beyond the face, 0 to 1.
        eye_centre: `(N, 2, 3)` eyeballs (left, right), camera space [cm].
        eye_radius: `(N, 2)` [cm].
        eye_frame: `(N, 2, 3, 3)` columns right, up, gaze of the photographed eyes.
        gaze: `(N, 2)` photographed gaze in the head [deg], right and down.
        yaw: `(N,)` photographed yaw [deg].
        border: `(N, 2)` share of the left and right photo edge covered by the person.
        fit_error: `(N,)` mean landmark error of the fit [px at 512].
        spectacled: `(N,)` bool, whether the photograph seems to show glasses.
    """

    number: Tensor
    identity: Tensor
    reshape: Tensor
    expression: Tensor
    rotation: Tensor
    position: Tensor
    vertices: Tensor
    residual: Tensor
    visible: Tensor
    fill: Tensor
    skin: Tensor
    light: Tensor
    lamp: Tensor
    shade: Tensor
    mouth_light: Tensor
    teeth: Tensor
    enamel: Tensor
    pivot: Tensor
    chin_height: Tensor
    shallow: Tensor
    deep: Tensor
    grid_fall: Tensor
    eye_centre: Tensor
    eye_radius: Tensor
    eye_frame: Tensor
    gaze: Tensor
    yaw: Tensor
    border: Tensor
    fit_error: Tensor
    spectacled: Tensor

    def __len__(self) -> int:
        return len(self.number)

    def rows(self, index: Tensor) -> People:
        """The people of the given rows `(n,)`."""
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True, kw_only=True, slots=True)
class Cast:
    """Everything a renderer needs to show certain people.

    Attributes:
        mesh: The shared head.
        people: Geometry per person.
        textures: Pictures per person, in the same order.
        pictures: `(N,)` row of `textures` that shows each person; its own when `None`.
        variation: How the people differ from their photographs, row by row; not at all when `None`.
    """

    mesh: HeadMesh
    people: People
    textures: Textures
    pictures: Tensor | None = None
    variation: Variation | None = None

    def pictures_of(self, who: Tensor) -> Tensor:
        """Rows of `textures` that show the people `who`."""
        return who if self.pictures is None else self.pictures[who]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.mesh.neutral.device


def load_cast(
    pack: Pack | PathLike | None,
    *,
    numbers: Sequence[int] | None = None,
    device: str = "cpu",
    photos: PathLike | None = None,
) -> Cast:
    """Load people from a data pack.

    Args:
        pack: A loaded pack or its path.
        numbers: Identity numbers to load, in this order; everybody when `None`.
        device: Torch device name.
        photos: Folder with sharper photographs of the same people (`0021.jpg`), or `None`.

    Returns:
        The cast.

    Raises:
        InputError: If the pack is absent or not a pack, or lacks one of the numbers.
        MediaError: If a picture is absent or does not decode.
    """
    if not isinstance(pack, Pack):
        pack = read_pack(pack)
    where = torch.device(device)
    rows = torch.as_tensor(pack.rows(numbers))
    mesh = load_mesh(pack, where)
    textures = load_textures(pack, rows.tolist(), where, photos=photos)
    return Cast(mesh=mesh, people=_load_people(pack, mesh, rows, textures.photo), textures=textures)


def _load_people(pack: Pack, mesh: HeadMesh, rows: Tensor, photo: Tensor) -> People:
    """Per-person geometry and constants of the given rows."""
    device = mesh.neutral.device

    def column(name: str) -> Tensor:
        return torch.as_tensor(pack.arrays[f"id_{name}"][rows.numpy()]).to(device, torch.float32)

    identity, expression = column("identity"), column("expression")
    rotation, position = column("R"), column("t")
    residual = column("residual") / 127
    vertices = (mesh.shape(identity, expression) - mesh.centre) @ rotation.transpose(1, 2) + position[:, None]
    vertices[..., :2] += residual
    chin, chin_identity, chin_expression = mesh.chin
    light, eye_frame = column("light"), column("eye_frame")
    chunks = zip(torch.split(vertices, _CHUNK), torch.split(light, _CHUNK), strict=True)
    shade = torch.cat([luminance(vertex_normals(v, mesh.normal_tris), c) for v, c in chunks])
    shallow, deep = _grid_depths(column("depth"), column("depth_range"), position)
    visible = column("visible") / 255
    teeth, enamel = photographed_mouths(mesh, vertices, visible, photo)
    in_chunks = zip(*(torch.split(t, _CHUNK) for t in (column("eye_centre"), rotation, photo)), strict=True)
    joint = torch.tensor(NECK_JOINT_CM, device=device) - mesh.centre
    return People(
        number=torch.as_tensor(pack.numbers[rows.numpy()]).to(device),
        identity=identity,
        reshape=torch.zeros_like(identity),
        expression=expression,
        rotation=rotation,
        position=position,
        vertices=vertices,
        residual=residual,
        visible=visible,
        fill=lid_colour(mesh.lids, column("fill").flip(-1) / 255),  # stored as BGR
        skin=column("skin").flip(-1) / 255,
        light=light,
        lamp=light,
        shade=shade,
        mouth_light=column("mouth_light"),
        teeth=teeth,
        enamel=enamel,
        pivot=(rotation @ joint) + position,
        chin_height=(chin + identity @ chin_identity + expression @ chin_expression)[:, 1],
        shallow=shallow,
        deep=deep,
        grid_fall=column("depth")[:, 2] / 255,
        eye_centre=column("eye_centre"),
        eye_radius=column("eye_radius"),
        eye_frame=eye_frame,
        gaze=_photographed_gaze(rotation, eye_frame),
        yaw=column("yaw"),
        border=column("border"),
        fit_error=column("fit_error"),
        spectacled=torch.cat([glasses_score(*part) > LOOKS_LIKE_GLASSES for part in in_chunks]),
    )


def _grid_depths(depth: Tensor, span: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """Camera depth of the hair grid, shallow and deep `(N, G, G)`, softened so that folds are not jagged."""
    low, high = span.T[:, :, None, None]
    out = []
    for channel in (0, 1):
        z = low + depth[:, channel] / 255 * (high - low) + position[:, 2, None, None]
        padded = F.pad(z[:, None], (1, 1, 1, 1), mode="replicate")
        out.append(F.avg_pool2d(padded, 3, 1)[:, 0])
    return out[0], out[1]


def _photographed_gaze(rotation: Tensor, eye_frame: Tensor) -> Tensor:
    """Mean gaze of both eyes in head space `(N, 2)` [deg], right and down."""
    gaze = (rotation.transpose(1, 2)[:, None] @ eye_frame[..., 2:])[..., 0].mean(1)
    return torch.rad2deg(torch.stack([torch.atan2(gaze[:, 0], gaze[:, 2]), -torch.asin(gaze[:, 1].clamp(-1, 1))], 1))
