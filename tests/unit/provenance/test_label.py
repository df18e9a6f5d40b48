from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portrait_anim.provenance.label import Labeller, face_zones
from portrait_anim.provenance.label_path import CYCLE_S, MOMENT_S
from portrait_anim.provenance.label_pill import LANGUAGES

SIZES = [(128, 128), (256, 256), (512, 512), (1920, 1080), (1080, 1920)]


def _flat(size: tuple[int, int], value: int) -> np.ndarray:
    return np.full((size[1], size[0], 3), value, np.uint8)


def _luminance(values: np.ndarray) -> np.ndarray:
    share = values[..., :3].astype(float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("value", [0, 64, 128, 200, 255])
def test_contrast_on_any_ground(size: tuple[int, int], value: int) -> None:
    labeller = Labeller(size)
    left, top, right, bottom = labeller.box(0.0)
    inside = _luminance(labeller.draw(_flat(size, value), 0.0)[top + 2 : bottom - 2, left + 8 : right - 8])
    brightest, ground = np.percentile(inside, 99), np.percentile(inside, 30)
    assert (brightest + 0.05) / (ground + 0.05) >= 4.5  # WCAG 2 AA


@pytest.mark.parametrize("size", SIZES)
def test_only_the_box_changes_and_input_is_kept(size: tuple[int, int]) -> None:
    labeller = Labeller(size)
    frame = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    before = frame.copy()
    for time_s in (0.0, 1.9, 2.4, 5.0, 7.3):
        marked = labeller.draw(frame, time_s)
        assert np.array_equal(frame, before)
        left, top, right, bottom = labeller.box(time_s)
        changed = (marked != frame).any(axis=2)
        assert changed[top:bottom, left:right].mean() > 0.7
        changed[top:bottom, left:right] = False
        assert not changed.any()
        assert np.array_equal(marked, Labeller(size).draw(frame, time_s))


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    time_s=st.floats(-100, 1e6),
    text=st.sampled_from(["AI-generated", "KI-generiert", "x", "Généré par IA " * 9]),
)
def test_stays_inside_any_frame(width: int, height: int, time_s: float, text: str) -> None:
    labeller = Labeller((width, height), text=text)
    left, top, right, bottom = labeller.box(time_s)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert labeller.draw(_flat((width, height), 90), time_s).shape == (height, width, 3)


@pytest.mark.parametrize("size", SIZES)
def test_moves_smoothly_and_slowly_along_the_edges(size: tuple[int, int]) -> None:
    labeller = Labeller(size)
    boxes = np.array([labeller.box(index / 25) for index in range(round(3 * CYCLE_S * 25))])
    steps = np.abs(np.diff(boxes[:, :2], axis=0)) / np.array(size)
    assert steps.max() < 0.07
    near_edge = (boxes[:, 1] < 0.2 * size[1]) | (boxes[:, 3] > 0.8 * size[1])
    assert near_edge.mean() > 0.75


@pytest.mark.parametrize("size", SIZES)
def test_face_centre_is_never_covered_for_long(size: tuple[int, int]) -> None:
    labeller = Labeller(size)
    width, height = size
    covered = longest = 0
    for index in range(round(CYCLE_S * 50)):
        left, top, right, bottom = labeller.box(index / 50)
        meets = left < 0.65 * width and right > 0.35 * width and top < 0.75 * height and bottom > 0.4 * height
        covered = covered + 1 if meets else 0
        longest = max(longest, covered)
    assert longest / 50 < 0.6


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("start_s", [0.0, 1.3, 2.5, 3.0, 5.2])
def test_no_crop_removes_it_from_four_seconds(size: tuple[int, int], start_s: float) -> None:
    labeller = Labeller(size)
    width, height = size
    boxes = np.array([labeller.box(start_s + index / 25) for index in range(100)], float)
    side = 0.6**0.5  # a crop to 60 % of the area
    for x in np.linspace(0, 1 - side, 5):
        for y in np.linspace(0, 1 - side, 5):
            seen_x = np.minimum(boxes[:, 2], (x + side) * width) - np.maximum(boxes[:, 0], x * width)
            seen_y = np.minimum(boxes[:, 3], (y + side) * height) - np.maximum(boxes[:, 1], y * height)
            share = np.clip(seen_x, 0, None) * np.clip(seen_y, 0, None)
            share /= labeller.pill_size[0] * labeller.pill_size[1]
            assert (share > 0.9).sum() >= 6  # a quarter of a second


def test_every_quarter_of_the_area_shows_it_within_one_cycle() -> None:
    labeller = Labeller((512, 512))
    boxes = np.array([labeller.box(index / 25) for index in range(round(CYCLE_S * 25))])
    for x in np.linspace(0, 256, 9):
        for y in np.linspace(0, 256, 9):
            inside = (boxes[:, 0] >= x) & (boxes[:, 2] <= x + 256) & (boxes[:, 1] >= y) & (boxes[:, 3] <= y + 256)
            assert inside.any(), (x, y)


@settings(max_examples=30, deadline=None)
@given(
    size=st.sampled_from([*SIZES, (256, 448)]),
    label_size=st.sampled_from(["small", "medium", "large"]),
    language=st.sampled_from(LANGUAGES),
    shape=st.floats(0.6, 1.0),
    x=st.floats(0, 1),
    y=st.floats(0, 1),
    with_face=st.booleans(),
)
def test_every_window_of_60_percent_shows_it_in_ten_seconds(
    size: tuple[int, int], label_size: str, language: str, shape: float, x: float, y: float, with_face: bool
) -> None:
    width, height = size
    zones = (_zone(size, 0.3, 0.36, 0.7, 0.48), _zone(size, 0.38, 0.64, 0.62, 0.76)) if with_face else ()
    labeller = Labeller(size, language=language, label_size=label_size, keep_clear=zones)
    boxes = np.array([labeller.box(index / 25) for index in range(250)], float)
    window_width, window_height = shape * width, 0.6 / shape * height
    left, top = x * (width - window_width), y * (height - window_height)
    inside = (boxes[:, 0] >= left - 1) & (boxes[:, 2] <= left + window_width + 1)
    inside &= (boxes[:, 1] >= top - 1) & (boxes[:, 3] <= top + window_height + 1)
    if labeller.pill_size[0] <= 0.55 * width:
        assert inside.sum() >= 10  # 0.4 s
    else:  # a large label on a narrow frame can be wider than the window
        seen_x = np.minimum(boxes[:, 2], left + window_width) - np.maximum(boxes[:, 0], left)
        seen_y = np.minimum(boxes[:, 3], top + window_height) - np.maximum(boxes[:, 1], top)
        share = np.clip(seen_x, 0, None) * np.clip(seen_y, 0, None) / np.prod(labeller.pill_size)
        assert (share > 0.8).sum() >= 10


def _zone(size: tuple[int, int], left: float, top: float, right: float, bottom: float) -> tuple[float, ...]:
    return left * size[0], top * size[1], right * size[0], bottom * size[1]


@settings(max_examples=25, deadline=None)
@given(
    size=st.sampled_from([(256, 256), (512, 512), (1920, 1080), (1080, 1920)]),
    x=st.floats(0.1, 0.9),
    y=st.floats(0.1, 0.9),
    face=st.floats(0.1, 0.9),
    label_size=st.sampled_from(["small", "medium", "large"]),
)
def test_eyes_and_mouth_are_never_covered_for_long(
    size: tuple[int, int], x: float, y: float, face: float, label_size: str
) -> None:
    width, height = size
    side = face * min(size)
    across, down = x * width, y * height
    eyes = (across - 0.3 * side, down - 0.25 * side, across + 0.3 * side, down - 0.05 * side)
    mouth = (across - 0.2 * side, down + 0.15 * side, across + 0.2 * side, down + 0.4 * side)
    labeller = Labeller(size, label_size=label_size, keep_clear=(eyes, mouth))
    covered = longest = 0
    previous = labeller.box(0.0)
    for index in range(round(2 * CYCLE_S * 50)):
        box = labeller.box(index / 50)
        step = max(abs(box[0] - previous[0]) / width, abs(box[1] - previous[1]) / height)
        assert step < 0.25  # it hurries, it does not jump
        previous = box
        meets = any(box[0] < z[2] and box[2] > z[0] and box[1] < z[3] and box[3] > z[1] for z in (eyes, mouth))
        covered = covered + 1 if meets else 0
        longest = max(longest, covered)
    assert longest / 50 <= MOMENT_S + 0.04
    first = labeller.box(0.02)  # a clip begins beside the face
    assert not any(first[0] < z[2] and first[2] > z[0] and first[1] < z[3] and first[3] > z[1] for z in (eyes, mouth))


def test_zones_follow_the_face_into_the_frame() -> None:
    landmarks = np.full((478, 2), 50.0)
    landmarks[[10, 152], 1] = 10, 90  # forehead and chin
    landmarks[[33, 263]] = [[30, 40], [70, 40]]
    landmarks[[159, 145, 133, 362, 386, 374]] = [50, 40]
    landmarks[[61, 291]] = [[40, 75], [60, 75]]
    landmarks[[0, 17, 78, 308, 13, 14]] = [50, 75]
    eyes, mouth = face_zones(landmarks)
    assert eyes == (22, 32, 78, 48)
    assert mouth == (32, 67, 68, 83)
    assert face_zones(landmarks, np.array([[2.0, 0, 5], [0, 2.0, 1]]))[0] == (49, 65, 161, 97)


@pytest.mark.parametrize("language", LANGUAGES)
def test_font_has_every_letter(language: str) -> None:
    from portrait_anim.provenance.label_pill import WORDINGS, _font

    font = _font("DejaVuSans.ttf", 40.0)
    unknown = font.getmask("\U0010ffff").getbbox(), bytes(font.getmask("\U0010ffff"))
    for letter in set(WORDINGS[language].text) - {" "}:
        assert (font.getmask(letter).getbbox(), bytes(font.getmask(letter))) != unknown


def test_sizes_differ_and_sentence_gives_way_where_it_could_not_be_read() -> None:
    widths = [Labeller((512, 512), label_size=size).pill_size[0] for size in ("small", "medium", "large")]
    assert widths[0] < widths[1] < widths[2] <= 0.63 * 512
    narrow = Labeller((96, 128), language="pl")
    assert narrow.pill_size[0] < 40  # the badge alone
    assert narrow.pill_size[1] >= 16


def test_wrong_frames_and_sizes() -> None:
    with pytest.raises(ValueError, match="at least 1x1"):
        Labeller((0, 5))
    with pytest.raises(ValueError, match="empty"):
        Labeller((64, 64), text=" ")
    with pytest.raises(ValueError, match="expected a language"):
        Labeller((64, 64), language="xx")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected a label size"):
        Labeller((64, 64), label_size="huge")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected a uint8 frame"):
        Labeller((64, 64)).draw(np.zeros((64, 64, 3), np.float32), 0.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected a uint8 frame"):
        Labeller((64, 32)).draw(_flat((32, 64), 0), 0.0)
