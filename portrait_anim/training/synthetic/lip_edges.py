"""Faces with known inner lip edges: what a tongue that leaves the mouth is drawn on (`training.tongue_pictures`).

A tongue is drawn when a picture is used, not when it is rendered, so that every face is seen with many tongues and
without one.

Shapes: B pictures, S picture side [px], P = 11 points of a lip edge.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from portrait_anim.training.synthetic import camera
from portrait_anim.training.synthetic import variation as vary
from portrait_anim.training.synthetic.motion import Gesture
from portrait_anim.training.synthetic.mouth import LOOK, person_look
from portrait_anim.training.synthetic.posing import pose_head
from portrait_anim.training.synthetic.samples import limit_turn

if TYPE_CHECKING:
    from portrait_anim.training.synthetic.mesh import HeadMesh
    from portrait_anim.training.synthetic.renderer import Renderer

# Inner lip edges of the average head from image left to image right [cm]: corners, then points of either lip.
_CORNER: Final = ((-2.35, -3.45, 10.1), (2.35, -3.45, 10.1))
_ACROSS: Final = (-1.85, -1.5, -1.1, -0.72, 0.0, 0.72, 1.1, 1.5, 1.85)
_HEIGHT: Final = (-3.28, -3.42)
_BEND: Final = (0.06, 0.0)  # the upper edge falls so much times x squared
# Of the chin's way: an upper lip moves less than the first, a lower one more than the second.
_JAW_SHARE: Final = (0.16, 0.45)
_OPENED_SHARE: Final = 0.6  # of the pictures, whose jaw is opened on purpose
_ROUND_SHARE: Final = 0.2  # of the pictures, whose mouth is wide open, mostly as an O


@dataclass(frozen=True, kw_only=True, slots=True)
class LipPictures:
    """Faces without a tongue outside the mouth.

    Attributes:
        picture: `(B, 3, S, S)` uint8, showing `crops.WINDOW`.
        lips: `(B, 2, P, 3)` inner edges of upper and lower lip from image left to right, camera space [cm].
        head: `(B, 3)` yaw, pitch, roll [deg].
        anchor: `(B, 3)` midpoint of the eyeballs, camera space [cm].
    """

    picture: Tensor
    lips: Tensor
    head: Tensor
    anchor: Tensor

    def as_dict(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def edge_vertices(mesh: HeadMesh) -> Tensor:
    """Vertices `(2, P)` of the inner edges of the upper and the lower lip, from image left to image right.

    Both lips touch in the average head, so that only the way they go with the jaw tells them apart.
    """
    skin = mesh.skin_vertices
    way = mesh.expression_basis.view(len(mesh.expression_names), -1, 3)[mesh.expression_index("jawOpen"), skin, 1]
    share = way / way.min()
    place = mesh.neutral[skin]
    front = place[:, 2] > 9.5
    rows = []
    for height, bend, mine in zip(_HEIGHT, _BEND, (share < _JAW_SHARE[0], share > _JAW_SHARE[1]), strict=True):
        points = [_CORNER[0], *((x, height - bend * x * x, 11.3 - 0.34 * x * x) for x in _ACROSS), _CORNER[1]]
        numbers = []
        for k, point in enumerate(points):
            distance = (place - camera.constant(point, place)).norm(dim=1)
            inner = 0 < k < len(points) - 1 and abs(point[0]) < 1.3
            allowed = front & mine if inner else front
            numbers.append(skin[distance.masked_fill(~allowed, 1e9).argmin()])
        rows.append(torch.stack(numbers))
    return torch.stack(rows)


def draw_lip_pictures(renderer: Renderer, count: int, generator: torch.Generator) -> LipPictures:
    """Draw varied people with any expression, most with an opened mouth.

    Args:
        renderer: Draws the pictures, see `crops.crop_renderer`.
        count: Number B of pictures.
        generator: Source of all randomness, on the renderer's device.

    Returns:
        The pictures.
    """
    statistics, mesh = renderer.statistics, renderer.cast.mesh
    usable, _ = renderer.pools
    chosen = statistics.pick(generator, usable, count)
    varied = renderer.varied(chosen, vary.draw_variation(renderer.cast.people, chosen, generator))
    people, who = varied.cast.people, torch.arange(count, device=renderer.device)
    expr = statistics.expression(count, generator)
    jaw = mesh.expression_index("jawOpen")
    draw = statistics.rand(generator, count, 4)
    opened = 0.05 + 0.9 * draw[:, 0] ** 1.5
    expr[:, jaw] = torch.where(draw[:, 1] < _OPENED_SHARE, torch.maximum(expr[:, jaw], opened), expr[:, jaw])
    round_mouth = draw[:, 2] < _ROUND_SHARE
    funnel = mesh.expression_index("mouthFunnel")
    expr[:, jaw] = torch.where(round_mouth, 0.4 + 0.6 * draw[:, 0], expr[:, jaw])
    expr[:, funnel] = torch.where(round_mouth, torch.maximum(expr[:, funnel], draw[:, 3]), expr[:, funnel])
    head = limit_turn(people.yaw, statistics.head(count, generator))
    gesture = Gesture(
        expr=expr, head=head, shift=statistics.shift(count, generator), gaze=statistics.gaze(count, generator)
    )
    motion = varied.motion_of(who, gesture)
    look = person_look(people.number) + 0.6 * statistics.randn(generator, count, LOOK)
    image = varied.render(who, motion, look).image
    posed = pose_head(mesh, people, who, motion)
    return LipPictures(
        picture=(image.clamp(0, 1) * 255 + 0.5).to(torch.uint8),
        lips=posed.vertices[:, edge_vertices(mesh)],
        head=head,
        anchor=posed.eye_centre.mean(1),
    )
