import itertools
from pathlib import Path

import numpy as np
import pytest

from portrait_anim.evaluation import attacks
from portrait_anim.evaluation.watermark_report import measure, visibility, write_report
from portrait_anim.evaluation.watermark_rivals import OwnMark
from portrait_anim.media.image import read_image, resize

PORTRAIT = Path(__file__).resolve().parents[3] / "demo" / "samples" / "portrait.jpg"
TABLE = attacks.table()
ENCODERS = ("H.264", "H.265", "VP9", "MPEG-4")
RENDER_ID = 0x123456789ABC
# What four seconds of video are needed for; the others are read from what is left of a second.
HARD = ("H.264 CRF 32",)


def _moving(size, count):
    """A portrait that drifts, a pixel per frame."""
    picture = resize(read_image(PORTRAIT), size + 32)
    return [picture[16 : 16 + size, index : index + size].copy() for index in range(count)]


@pytest.fixture(scope="module")
def marked():
    return OwnMark(RENDER_ID).mark(_moving(512, 10))


def test_names_are_unique_and_everything_asked_is_there():
    names = [attack.name for attack in TABLE]
    assert len(set(names)) == len(names)
    for word in ("CRF 23", "CRF 28", "CRF 32", "H.265", "VP9", "JPEG 50", "crop 60", "crop 40", "crop 25", "scale 50",
                 "scale 200", "rotate 10", "flip", "letterbox", "picture in picture", "frame rate", "trim", "reversed",
                 "brighter", "contrast", "gamma", "saturation", "grey", "blur", "noise", "sharpen", "sticker",
                 "screen recording", "perspective"):  # fmt: skip
        assert any(word in name for name in names), word


@pytest.mark.parametrize("attack", TABLE, ids=lambda attack: attack.name)
def test_attacks_give_frames_and_leave_theirs_alone(attack):
    frames = _moving(96, 5)
    before = [frame.copy() for frame in frames]
    attacked = attack(frames, np.random.default_rng(1))
    assert attacked
    assert all(frame.dtype == np.uint8 and frame.shape == attacked[0].shape for frame in attacked)
    assert attacked[0].ndim == 3
    for frame, copy in zip(frames, before, strict=True):
        np.testing.assert_array_equal(frame, copy)
    again = attack(frames, np.random.default_rng(1))
    assert len(again) == len(attacked)
    np.testing.assert_array_equal(attacked[0], again[0])
    with pytest.raises(ValueError, match="at least one frame"):
        attack([], np.random.default_rng(1))


def test_attacks_do_something():
    frames = _moving(96, 5)
    for attack in TABLE[1:]:
        attacked = attack(frames, np.random.default_rng(1))
        same = len(attacked) == len(frames) and all(
            left.shape == right.shape and (left == right).all() for left, right in zip(attacked, frames, strict=True)
        )
        assert not same or attack.name == "trim 1 s", attack.name  # these frames last less than a second


def test_pairs_come_once_and_in_the_order_of_an_edit():
    joined = attacks.pairs(TABLE)
    paired = sum(attack.paired for attack in TABLE)
    assert len({frozenset((first.name, second.name)) for first, second in joined}) == paired * (paired - 1) // 2
    assert ("scale 50 %", "JPEG 50") in {(first.name, second.name) for first, second in joined}
    assert "encoding" not in {first.kind for first, second in joined if second.kind != "encoding"}
    firsts = [first.name for first, _ in joined]
    assert len(list(itertools.groupby(firsts))) == len(set(firsts))


@pytest.mark.parametrize(
    "attack", [attack for attack in TABLE if attack.single and not attack.name.startswith(ENCODERS)],
    ids=lambda attack: attack.name,
)  # fmt: skip
def test_a_single_frame_survives(marked, attack):
    (result,) = measure(OwnMark(RENDER_ID), marked[:1], [attack], single_frame=True)
    assert result.detected
    assert result.bit_accuracy == 1
    assert result.log10_false_positive is not None
    assert result.log10_false_positive <= -6


def test_a_single_frame_survives_h264(marked):
    chosen = [attack for attack in TABLE if attack.name == "H.264 CRF 23"]
    (result,) = measure(OwnMark(RENDER_ID), marked[:6], chosen, single_frame=True)
    assert result.detected


@pytest.mark.slow
@pytest.mark.parametrize("attack", [a for a in TABLE if a.name not in HARD], ids=lambda attack: attack.name)
def test_a_short_clip_survives(marked, attack):
    (result,) = measure(OwnMark(RENDER_ID), marked, [attack])
    assert result.detected


def test_what_is_not_found_is_not_claimed():
    (result,) = measure(OwnMark(RENDER_ID), _moving(128, 1), TABLE[:1])
    assert not result.detected
    assert 0 <= result.bit_accuracy < 1
    assert result.log10_false_positive is None


def test_the_report_is_written(tmp_path, marked):
    seen = []
    results = measure(OwnMark(RENDER_ID), marked[:1], TABLE[:1], on_progress=seen.append)
    looks = [visibility("portrait_anim", _moving(512, 10), marked)]
    plot = write_report(tmp_path / "new", results, looks)
    assert read_image(plot).shape[1] > 100
    assert (tmp_path / "new" / "attacks.json").read_text().count('"attack"') == 1
    assert seen[-1].done == seen[-1].total == 1
    assert looks[0].psnr_db >= 42
