"""From a wanted motion to posed geometry: the face mesh, the eyeballs and the grid of hair, neck and torso.

Shape legend: B pictures, V mesh vertices, G nodes per side of the hair grid.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import torch
from torch import Tensor

from portrait_anim.training.synthetic import camera, lids
from portrait_anim.training.synthetic.mesh import HeadMesh
from portrait_anim.training.synthetic.motion import Gesture, add_lid_coupling
from portrait_anim.training.synthetic.people import People
from portrait_anim.training.synthetic.shading import push_pull

_FOLLOW_SHARE: Final = 0.7  # share of the sideways face motion of a turn that a face-following crop takes out
_TORSO_FOLLOWS: Final = 0.35  # share of the head's translation that the torso takes part in
_GAZE_LIMIT_DEG: Final = 36.0  # from the photographed gaze: the drawn gaze stays true where that is up to 9 aside


@dataclass(frozen=True, kw_only=True, slots=True)
class Motion:
    """What a picture of certain people shows, relative to their photographs.

    Attributes:
        expr: `(B, 53)` absolute coefficients.
        rotation: `(B, 3, 3)` head rotation on top of the photograph's.
        translation: `(B, 3)` [cm].
        gaze: `(B, 2)` eye rotation on top of the photograph's [deg], right and down.
    """

    expr: Tensor
    rotation: Tensor
    translation: Tensor
    gaze: Tensor

    def rows(self, index: Tensor) -> Motion:
        """The given rows."""
        return Motion(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True, kw_only=True, slots=True)
class PosedHead:
    """A head in its new pose.

    Attributes:
        vertices: `(B, V, 3)` camera space [cm].
        moved: `(B, V, 3)` displacement before the head pose, camera space of the photograph [cm].
        blink: `(B, V)` lid closure of the vertex's side.
        turn: `(B, 3)` rotation vector [rad].
        eye_centre: `(B, 2, 3)` eyeballs, camera space [cm].
    """

    vertices: Tensor
    moved: Tensor
    blink: Tensor
    turn: Tensor
    eye_centre: Tensor


def motion_of(mesh: HeadMesh, people: People, who: Tensor, gesture: Gesture, resting: Tensor) -> Motion:
    """Turn an identity-free gesture into the motion of certain people.

    Args:
        mesh: The shared head.
        people: Everybody.
        who: `(B,)` rows.
        gesture: What they show.
        resting: `(N, 53)` coefficients of each person's resting face.

    Returns:
        Their motion.
    """
    rotation = camera.euler(*gesture.head.unbind(1)) @ people.rotation[who].transpose(1, 2)
    lips = people.vertices[who][:, mesh.lips].mean(1) - people.pivot[who]
    swing = (rotation @ lips[..., None])[..., 0] - lips
    follow = -_FOLLOW_SHARE * swing * camera.constant((1.0, 1.0, 0.0), swing)
    gaze = (gesture.gaze - people.gaze[who]).clamp(-_GAZE_LIMIT_DEG, _GAZE_LIMIT_DEG)
    return Motion(
        expr=(resting[who] + gesture.expr).clamp(0, 1),
        rotation=rotation,
        translation=gesture.shift + follow,
        gaze=gaze,
    )


def pose_head(mesh: HeadMesh, people: People, who: Tensor, motion: Motion) -> PosedHead:
    """Pose the meshes of certain people.

    Args:
        mesh: The shared head.
        people: Everybody.
        who: `(B,)` rows.
        motion: What they show.

    Returns:
        The posed heads.
    """
    moved, blink, eye_shift = _displacement(mesh, people, who, motion)
    pivot = people.pivot[who][:, None]
    turn = motion.rotation.transpose(1, 2)
    there = motion.translation[:, None]
    vertices = pivot + (people.vertices[who] + moved - pivot) @ turn + there
    eyes = pivot + (people.eye_centre[who] + eye_shift - pivot) @ turn + there
    return PosedHead(
        vertices=vertices,
        moved=moved,
        blink=blink,
        turn=camera.rotation_vector(motion.rotation),
        eye_centre=eyes,
    )


def reshaped(mesh: HeadMesh, people: People, who: Tensor) -> Tensor:
    """Displacement `(B, V, 3)` of the vertices by a changed identity, camera space of the photograph [cm]."""
    offset = (people.reshape[who] @ mesh.identity_basis).view(len(who), -1, 3)
    return offset @ people.rotation[who].transpose(1, 2)


def _displacement(mesh: HeadMesh, people: People, who: Tensor, motion: Motion) -> tuple[Tensor, Tensor, Tensor]:
    """Vertex displacement `(B, V, 3)`, lid closure per vertex `(B, V)`, displacement of the eyeballs `(B, 2, 3)`."""
    names, weights = mesh.expression_names, mesh.weights
    expr = add_lid_coupling(motion.expr, motion.gaze, names)
    moved = ((expr - people.expression[who]) @ mesh.expression_basis).view(len(who), -1, 3)
    moved = moved + weights["tongue"][:, None] * _tongue(mesh, expr)[:, None]
    moved = moved + weights["upper"][:, None] * camera.constant((0.0, -0.22, 0.05), moved)
    moved = moved @ people.rotation[who].transpose(1, 2)
    closure = expr[:, [names.index("eyeBlink_L"), names.index("eyeBlink_R")]]
    blink = closure[:, :1] * mesh.left + closure[:, 1:] * (1 - mesh.left)  # (B, V) of the own side
    fade = (weights["eye_near"] * blink * 0.9)[..., None]
    moved[..., :2] -= people.residual[who] * fade  # the landmark correction of open lids is wrong for closed ones
    shape = reshaped(mesh, people, who)
    moved = moved + shape
    near = torch.stack([weights["eye_near"] * mesh.left, weights["eye_near"] * (1 - mesh.left)])  # (2, V)
    eye_shift = (near / near.sum(1, keepdim=True)) @ shape
    at = people.vertices[who] + moved
    moved[:, mesh.lids.rows] += lids.shut(mesh.lids, at, closure, people.rotation[who])
    return moved, blink, eye_shift


def _tongue(mesh: HeadMesh, expr: Tensor) -> Tensor:
    """Displacement of the tongue `(B, 3)` [cm]: it lags behind an opening jaw by an amount that varies.

    The morphable head has no tongue shapes. The variation is a smooth function of the expression, so that clips stay
    smooth and a driver and its target agree.
    """
    jaw, funnel, smile = (expr[:, mesh.expression_index(n)] for n in ("jawOpen", "mouthFunnel", "mouthSmile_L"))
    free = (jaw * 1.6).clamp(max=1)
    phase = 11 * jaw + 7 * funnel + 5 * smile + 6 * expr[:, mesh.expression_index("mouthLowerDown_L")]
    up = free * (0.38 + 0.34 * torch.sin(phase))
    return torch.stack([0.12 * free * torch.sin(0.7 * phase + 1), up, free * (0.3 + 0.35 * torch.cos(phase))], 1)


def grid_nodes(G: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes `(G, G, 2)` of the hair grid over the padded photo frame and its triangles `(T, 3)`."""
    line = (torch.arange(G, device=device) + 0.5) * ((camera.FRAME + 2 * camera.PAD) / G) - camera.PAD
    nodes = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
    n = torch.arange(G * G, device=device).view(G, G)
    a, b, c, d = (q.flatten() for q in (n[:-1, :-1], n[:-1, 1:], n[1:, :-1], n[1:, 1:]))
    return nodes, torch.cat([torch.stack([a, b, c], 1), torch.stack([b, d, c], 1)])


def pose_grid(
    mesh: HeadMesh, people: People, who: Tensor, motion: Motion, head: PosedHead, nodes: Tensor
) -> tuple[Tensor, Tensor]:
    """Where the grid of hair, head, neck and torso goes.

    Args:
        mesh: The shared head.
        people: Everybody.
        who: `(B,)` rows.
        motion: What they show.
        head: The posed heads.
        nodes: `(G, G, 2)` nodes in the photograph [photo units].

    Returns:
        New node positions `(B, G, G, 2)` [photo units] and camera depth `(B, G, G)` [cm].
    """
    B, G = len(who), len(nodes)
    here = nodes.expand(B, G, G, 2)
    shallow, deep = people.shallow[who], people.deep[who]
    local = (camera.unproject(here, shallow).view(B, -1, 3) - people.position[who][:, None]) @ people.rotation[who]
    local = local + mesh.centre  # head space
    yaw = torch.rad2deg(torch.asin((-motion.rotation[:, 2, 0]).clamp(-1, 1)))[:, None]
    turned_away = (local[..., 0] / 5).clamp(-1, 1) * yaw / 10  # > 0 on the far side
    z = torch.lerp(shallow.flatten(1), deep.flatten(1), turned_away.clamp(0, 1))
    points = camera.unproject(here.reshape(B, -1, 2), z) + _spread(mesh, people, who, head.moved, G)
    share = camera.smoothstep((local[..., 1] - (people.chin_height[who][:, None] - 8.5)) / 7.5)  # 1 head, 0 torso
    pivot = people.pivot[who][:, None]
    points = pivot + camera.rotate_partly(points - pivot, head.turn, share)
    follow = _TORSO_FOLLOWS + (1 - _TORSO_FOLLOWS) * share
    points = points + follow[..., None] * motion.translation[:, None]
    return camera.project(points).view(B, G, G, 2), points[..., 2].view(B, G, G)


def _spread(mesh: HeadMesh, people: People, who: Tensor, moved: Tensor, G: int) -> Tensor:
    """Face displacement carried to the grid nodes `(B, G * G, 3)`, fading away from the head."""
    v = mesh.skin_vertices
    step = (camera.FRAME + 2 * camera.PAD) / G
    cell = ((camera.project(people.vertices[who][:, v]) + camera.PAD) / step).long().clamp(0, G - 1)
    flat = cell[..., 1] * G + cell[..., 0]
    value = torch.cat([moved[:, v], torch.ones_like(moved[:, v, :1])], -1)
    total = value.new_zeros(len(who), G * G, 4).scatter_add_(1, flat[..., None].expand(-1, -1, 4), value)
    total = total.transpose(1, 2).view(-1, 4, G, G)
    mean = total[:, :3] / total[:, 3:].clamp(min=1)
    field = push_pull(mean, (total[:, 3:] > 0).float()) * people.grid_fall[who][:, None]
    return field.flatten(2).transpose(1, 2)
