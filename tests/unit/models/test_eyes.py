"""Eyeballs: taken out of a drawn face, turned, and shown between lids that move."""

import math

import pytest
import torch

from portrait_anim.models.lite.expression_field import ExpressionField
from portrait_anim.models.lite.expressions import EXPRESSIONS, NUM_COEFFICIENTS
from portrait_anim.models.lite.eyes import IRIS, LIDS, RADIUS, gaze_rotation, show_eyes, take_out

SIZE, WIDTH, HEIGHT, SCALE = 256, 0.26, 0.13, 0.94
CENTRES = ((-0.3, -0.1), (0.3, -0.1))
SKIN, WHITE, DARK = 0.3, 0.9, -0.8


def drawn_face(opening=HEIGHT, iris=0.055):
    """A grey face with two white eyes and dark irises, and its 478 landmarks."""
    axis = (torch.arange(SIZE) + 0.5) * (2 / SIZE) - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    image = torch.full((1, 3, SIZE, SIZE), SKIN)
    landmarks = torch.zeros(478, 2)
    for (cx, cy), edges, numbers in zip(CENTRES, LIDS, IRIS, strict=True):
        u = ((x - cx) / (WIDTH / 2)).clamp(-1, 1)
        inside = ((y - cy).abs() < opening / 2 * (1 - u**2)) & (u.abs() < 1)
        image[0, :, inside] = WHITE
        image[0, :, inside & ((x - cx) ** 2 + (y - cy) ** 2 < iris**2)] = DARK
        for sign, edge in zip((-1, 1), edges, strict=True):
            for k, number in enumerate(edge):
                t = -1 + 2 * k / 8
                landmarks[number] = torch.tensor([cx + t * WIDTH / 2, cy + sign * opening / 2 * (1 - t**2)])
        for number, (dx, dy) in zip(numbers, ((0, 0), (1, 0), (0, -1), (-1, 0), (0, 1)), strict=True):
            landmarks[number] = torch.tensor([cx + dx * iris, cy + dy * iris])
    return image, landmarks


@pytest.fixture(scope="module")
def field():
    """A field in which only the upper lids move: `eyeBlink` of both sides lowers what lies above the eye line."""
    out = ExpressionField(rank=1, size=64)
    with torch.no_grad():
        out.patterns[0, :32] = 1.0
        for name in ("eyeBlink_L", "eyeBlink_R"):
            out.mix[EXPRESSIONS.index(name), 0, 1] = -0.07
    for upper, lower in LIDS:
        out.landmarks[list(upper), 1] = 0.1
        out.landmarks[list(lower), 1] = -0.1
    return out


def eyes_of(image, landmarks, field):
    rotation = torch.eye(3)[None]
    depth = torch.zeros(1, 1, 64, 64)
    return take_out(image, landmarks, depth, field, rotation, torch.tensor([SCALE]), torch.tensor([[0.0, -0.1]]))


@torch.no_grad()
def shown(eyes, field, size=SIZE, **values):
    change = torch.zeros(1, NUM_COEFFICIENTS)
    for name, value in values.items():
        change[0, NUM_COEFFICIENTS - 2 + ("right", "down").index(name) if name in ("right", "down") else 0] = value
        if name == "blink":
            change[0, [EXPRESSIONS.index("eyeBlink_L"), EXPRESSIONS.index("eyeBlink_R")]] = value
            change[0, 0] = 0
    return show_eyes(eyes, field, change, torch.eye(3)[None], torch.tensor([[0.0, -0.1]]), torch.ones(1), size)


def dark_middle(result):
    """Where the irises are `(2,)`, on average over both eyes, relative to the eyes' centres, [-1, 1]."""
    size = result.colour.shape[-1]
    axis = (torch.arange(size) + 0.5) * (2 / size) - 1
    dark = (result.colour.mean(1)[0] < -0.3) & (result.opacity[0, 0] > 0.9)
    out = []
    for k, (cx, cy) in enumerate(CENTRES):
        half = dark & ((axis[None] < 0) if k == 0 else (axis[None] > 0))
        rows, columns = half.nonzero(as_tuple=True)
        out.append(torch.stack([axis[columns].mean() - cx, axis[rows].mean() - cy]))
    return torch.stack(out).mean(0)


def test_an_eye_at_rest_is_the_portrait(field):
    image, landmarks = drawn_face()
    result = shown(eyes_of(image, landmarks, field), field)
    sure = result.opacity[0, 0] > 0.99
    assert sure.sum() > 450  # of about 740 pixels
    assert (result.colour - image).abs().mean(1)[0][sure].mean() < 0.2  # the edges are softer


def test_the_iris_goes_where_the_gaze_goes(field):
    eyes = eyes_of(*drawn_face(), field)
    still = dark_middle(shown(eyes, field))
    way = RADIUS * SCALE * math.sin(math.radians(10.0))
    for name, axis, least in (("right", 0, 0.7), ("down", 1, 0.35)):  # looking down, the lid hides a part of it
        moved = dark_middle(shown(eyes, field, **{name: 0.5})) - still
        assert least * way < moved[axis] < 1.2 * way
        assert abs(moved[1 - axis]) < 0.3 * way


def test_what_a_gaze_uncovers_is_white_not_stretched_iris(field):
    eyes = eyes_of(*drawn_face(), field)
    result = shown(eyes, field, right=1.0)
    x, y = CENTRES[0]
    column, row = int((x - 0.03 + 1) * SIZE / 2), int((y + 1) * SIZE / 2)  # iris in the portrait, white now
    assert result.colour[0, :, row, column].mean() > 0.5


def test_a_blink_closes_the_opening(field):
    eyes = eyes_of(*drawn_face(), field)
    open_, half, closed = (shown(eyes, field, blink=b).opacity.sum() for b in (0.0, 1.0, 2.2))
    assert open_ > 1.4 * half
    assert closed == 0


def test_closed_eyes_cannot_be_taken_out(field):
    eyes = eyes_of(*drawn_face(opening=0.01), field)
    assert eyes.usable.sum() == 0
    assert shown(eyes, field).opacity.sum() == 0


@pytest.mark.parametrize("size", [128, 512])
def test_any_size_shows_the_same_eyes(field, size):
    eyes = eyes_of(*drawn_face(), field)
    share = [float(shown(eyes, field, size=s).opacity.mean()) for s in (SIZE, size)]
    assert share[1] == pytest.approx(share[0], rel=0.15)


def test_gaze_rotation_turns_the_view_and_nothing_else():
    gaze = torch.tensor([[0.5, 0.0], [0.0, 1.0], [-0.3, 0.4], [0.0, 0.0]])
    turn = gaze_rotation(gaze)
    ahead = turn @ torch.tensor([0.0, 0.0, -1.0])
    angle = gaze.norm(dim=1) * math.radians(20)
    torch.testing.assert_close(ahead[:, 2], -angle.cos())
    torch.testing.assert_close(ahead[:2, :2], torch.tensor([[math.sin(angle[0]), 0.0], [0.0, math.sin(angle[1])]]))
    torch.testing.assert_close(turn @ turn.transpose(1, 2), torch.eye(3).expand(4, 3, 3), atol=1e-6, rtol=0)


@torch.no_grad()
def test_one_portrait_serves_many_frames(field):
    eyes = eyes_of(*drawn_face(), field)
    change = torch.zeros(3, NUM_COEFFICIENTS)
    change[:, -2] = torch.tensor([-0.5, 0.0, 0.5])
    turn = torch.eye(3).expand(3, 3, 3)
    many = show_eyes(eyes.expand(3), field, change, turn, torch.tensor([[0.0, -0.1]]).expand(3, 2), torch.ones(3), SIZE)
    single = shown(eyes, field, right=0.5)
    torch.testing.assert_close(many.colour[2:] * many.opacity[2:], single.colour * single.opacity, atol=1e-5, rtol=0)
