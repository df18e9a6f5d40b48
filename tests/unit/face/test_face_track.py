"""portrait_anim.face.track and .follow, with the real networks on short drawn clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from portrait_anim.errors import FaceTooSmall, MultipleFaces, NoFaceFound, NotAHumanFace
from portrait_anim.face.crop import eye_distance, eye_midpoint
from portrait_anim.face.landmarks import MeasuredFace
from portrait_anim.face.track import TrackedFrame, interpolate, track
from portrait_anim.types import FaceObservation, Frame, UInt8Array

Place = Callable[..., UInt8Array]
FPS = 25.0
BACKGROUND = np.full((360, 640, 3), (90, 120, 160), np.uint8)


def clip(images: list[UInt8Array], fps: float = FPS) -> Iterator[Frame]:
    for i, image in enumerate(images):
        yield Frame(image=image, time_s=i / fps, index=i)


def statuses(tracked: list[TrackedFrame]) -> str:
    """One letter per frame."""
    return "".join(item.status[0] for item in tracked)


@pytest.fixture(scope="module")
def moving(make_person: Place, on_canvas: Place) -> list[UInt8Array]:
    """A head that drifts to the right and grows, with noise."""
    random = np.random.default_rng(0)
    images = []
    for i in range(24):
        image = on_canvas(make_person(240 + i), 640, 360, 60 + 8 * i, 50)
        images.append(np.clip(image + random.normal(0, 3, image.shape), 0, 255).astype(np.uint8))
    return images


@pytest.fixture(scope="module")
def tracked(moving: list[UInt8Array]) -> list[TrackedFrame]:
    return list(track(clip(moving), lookahead_s=0.4))


def test_every_frame_comes_once_with_its_face(moving: list[UInt8Array], tracked: list[TrackedFrame]) -> None:
    assert [item.frame.index for item in tracked] == list(range(len(moving)))
    assert statuses(tracked) == "f" * len(moving)
    for item in tracked:
        assert item.observation is not None
        assert item.observation.time_s == item.frame.time_s
        side = 240 + item.frame.index
        assert eye_midpoint(item.observation) == pytest.approx(
            [60 + 8 * item.frame.index + side / 2, 50 + 0.48 * side], abs=8
        )


def test_geometry_is_steady_and_does_not_lag(tracked: list[TrackedFrame]) -> None:
    raw = np.array(
        [[*eye_midpoint(item.observation), eye_distance(item.observation)] for item in tracked if item.observation]
    )
    smooth = np.array([[*item.centre, item.scale] for item in tracked if item.centre is not None])
    roughness = [np.abs(np.diff(values, 2, axis=0)).mean(axis=0) for values in (raw, smooth)]
    assert roughness[1][2] < 0.3 * roughness[0][2]
    assert np.abs((smooth - raw).mean(axis=0)[:2]).max() < 1.0
    assert np.abs(smooth - raw)[:, :2].max() < 0.06 * raw[:, 2].mean()


def test_a_hidden_face_is_bridged(moving: list[UInt8Array]) -> None:
    images = [BACKGROUND if 8 <= i < 14 else image for i, image in enumerate(moving)]
    result = list(track(clip(images), lookahead_s=0.4))
    assert statuses(result) == "f" * 8 + "b" * 6 + "f" * 10
    before, middle, after = (result[i].observation for i in (7, 10, 14))
    assert before is not None
    assert middle is not None
    assert after is not None
    assert eye_midpoint(before)[0] < eye_midpoint(middle)[0] < eye_midpoint(after)[0]
    assert middle.score < before.score
    assert result[10].centre == pytest.approx(eye_midpoint(middle), abs=8)


def test_a_long_absence_is_reported_lost(moving: list[UInt8Array]) -> None:
    images = [*moving[:4], *[BACKGROUND] * 8, *moving[4:8], *[BACKGROUND] * 3]
    result = list(track(clip(images), lookahead_s=0.2))
    assert statuses(result) == "ffff" + "l" * 8 + "ffff" + "lll"
    assert all(item.observation is None and item.centre is None for item in result if item.status == "lost")


def test_a_cut_is_not_smoothed_over(make_person: Place, on_canvas: Place) -> None:
    first = on_canvas(make_person(260), 640, 360, 30, 40)
    second = np.full_like(first, (210, 205, 190))
    second[120:320, 400:600] = make_person(200)
    result = list(track(clip([first] * 6 + [second] * 6), lookahead_s=0.2))
    assert statuses(result) == "f" * 12
    for item in result:
        assert item.observation is not None
        assert item.centre == pytest.approx(eye_midpoint(item.observation), abs=3)
    assert result[6].centre is not None
    assert result[6].centre[0] > 450


def test_a_bystander_does_not_take_over(make_person: Place, on_canvas: Place) -> None:
    alone = on_canvas(make_person(200), 640, 360, 20, 60)
    bystander = on_canvas(make_person(200), 640, 360, 420, 60)
    result = list(track(clip([alone] * 3 + [bystander] * 4 + [alone] * 2), lookahead_s=0.2))
    assert statuses(result) == "fffbbbbff"


def test_the_same_person_is_followed(make_person: Place, on_canvas: Place) -> None:
    images = []
    for i in range(8):
        image = on_canvas(make_person(240), 640, 360, 30 + 4 * i, 60)
        image[60:300, 370:610] = make_person(240, (200, 150, 120))
        images.append(BACKGROUND if i == 4 else image)
    with pytest.raises(MultipleFaces):
        list(track(clip(images)))
    for choice, low, high in (("left", 0, 320), ("right", 320, 640)):
        result = list(track(clip(images), choice=choice))
        assert statuses(result) == "ffffbfff"
        assert all(low < item.centre[0] < high for item in result if item.centre is not None)


@pytest.mark.parametrize("count", [0, 1, 6])
def test_a_clip_without_a_face(count: int) -> None:
    with pytest.raises(NoFaceFound, match="expected a clip"):
        list(track(clip([BACKGROUND] * count)))


def test_a_clip_of_a_cat_or_of_a_tiny_face(cat: UInt8Array, make_person: Place, on_canvas: Place) -> None:
    with pytest.raises(NotAHumanFace):
        list(track(clip([cat] * 2)))
    with pytest.raises(FaceTooSmall):
        list(track(clip([on_canvas(make_person(90), 640, 360, 200, 100)] * 2)))


def test_one_frame_is_a_clip(moving: list[UInt8Array]) -> None:
    (only,) = track(clip(moving[:1]))
    assert only.status == "found"
    assert only.observation is not None
    assert only.centre == pytest.approx(eye_midpoint(only.observation))
    assert only.scale == pytest.approx(eye_distance(only.observation))


def test_reading_is_no_farther_ahead_than_asked(moving: list[UInt8Array]) -> None:
    read: list[int] = []

    def counted() -> Iterator[Frame]:
        for frame in clip(moving[:12]):
            read.append(frame.index)
            yield frame

    stream = track(counted(), lookahead_s=0.2)
    assert next(stream).frame.index == 0
    assert read[-1] == 5
    stream.close()  # type: ignore[attr-defined]


def test_uneven_times(moving: list[UInt8Array]) -> None:
    times = [0.0, 0.01, 0.02, 0.3, 0.31, 0.9]
    frames = [Frame(image=image, time_s=t, index=i) for i, (t, image) in enumerate(zip(times, moving, strict=False))]
    result = list(track(frames, lookahead_s=0.25))
    assert [item.frame.time_s for item in result] == times
    assert statuses(result) == "ffffff"


def test_negative_lookahead_is_refused() -> None:
    with pytest.raises(ValueError, match="lookahead"):
        next(track([], lookahead_s=-1.0))


def test_interpolation_is_a_straight_line() -> None:
    def sighting(value: float, time_s: float) -> FaceObservation:
        return MeasuredFace(
            box=np.zeros(4), landmarks=np.full((478, 2), value), score=0.8, time_s=time_s,
            depth=np.full(478, value / 100), image_size=(100, 100),
        )  # fmt: skip

    middle = interpolate(sighting(10, 1.0), sighting(20, 2.0), 1.25)
    assert np.allclose(middle.landmarks, 12.5)
    assert middle.depth is not None
    assert np.allclose(middle.depth, 0.125)
    assert middle.time_s == 1.25
    assert middle.score == pytest.approx(0.4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dev01.mp4", "dev03.mp4"])
def test_real_grimaces_are_followed_in_every_frame(shared_data: Path, name: str) -> None:
    with av.open(str(shared_data / "clips" / "dev" / name)) as container:
        frames = (
            Frame(image=image.to_ndarray(format="rgb24"), time_s=float(image.time), index=i)
            for i, image in enumerate(container.decode(video=0))
        )
        result = list(track(frames))
    assert set(statuses(result)) == {"f"}
    scale = np.log([item.scale for item in result])
    assert np.abs(np.diff(scale, 2)).max() < 1e-3, "the crop breathes"
