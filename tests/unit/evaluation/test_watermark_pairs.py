import json
from pathlib import Path

import numpy as np
import pytest

from portrait_anim.errors import MediaError
from portrait_anim.evaluation import attacks
from portrait_anim.evaluation.watermark_log import ResultLog, clip_header
from portrait_anim.evaluation.watermark_pairs import PairResult, measure_pairs
from portrait_anim.evaluation.watermark_report import AttackResult, measure
from portrait_anim.evaluation.watermark_rivals import OwnMark
from portrait_anim.media.image import read_image, resize

PORTRAIT = Path(__file__).resolve().parents[3] / "demo" / "samples" / "portrait.jpg"
RENDER_ID = 0x123456789ABC
BY_NAME = {attack.name: attack for attack in attacks.table()}


@pytest.fixture(scope="module")
def marked():
    picture = resize(read_image(PORTRAIT), 520)
    return OwnMark(RENDER_ID).mark([picture[:512, shift : shift + 512].copy() for shift in range(4)])


def _pairs(*names):
    return [tuple(BY_NAME[name] for name in pair) for pair in names]


def test_a_short_piece_is_tried_first(marked):
    wanted = _pairs(("darker", "crop 60 %"), ("darker", "flip"))
    results = measure_pairs(OwnMark(RENDER_ID), marked, wanted, fps=2.0)
    assert [(result.first, result.second) for result in results] == [("darker", "crop 60 %"), ("darker", "flip")]
    assert all(result.detected and result.seconds == 1.0 for result in results)
    assert all(result.log10_false_positive <= -6 for result in results)


def test_the_whole_clip_is_tried_before_giving_up(marked):
    seen = []

    class Deaf(OwnMark):
        def read(self, frames):
            seen.append(len(frames))
            return super().read([np.full((64, 64, 3), 90, np.uint8)])

    (result,) = measure_pairs(Deaf(RENDER_ID), marked, _pairs(("darker", "flip")), fps=2.0)
    assert seen == [2, 4]
    assert not result.detected
    assert result.seconds == 2.0


def test_a_run_goes_on_where_it_stopped(tmp_path, marked):
    path = tmp_path / "pairs.jsonl"
    first, *others = _pairs(("darker", "flip"), ("darker", "crop 60 %"))
    log = ResultLog(path, PairResult, clip_header(marked, 0))
    measure_pairs(OwnMark(RENDER_ID), marked, [first], fps=4.0, on_result=log.add)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"first": "dark')  # the run ended while it wrote
    again = ResultLog(path, PairResult, clip_header(marked, 0))
    assert [result.second for result in again.results] == ["flip"]
    new = []
    results = measure_pairs(
        OwnMark(RENDER_ID), marked, [first, *others], fps=4.0, done=again.results, on_result=new.append
    )
    assert [result.second for result in new] == ["crop 60 %"]
    assert len(results) == 2
    again.add(new[0])
    assert len(ResultLog(path, PairResult, clip_header(marked, 0)).results) == 2  # what was cut off is gone


@pytest.mark.parametrize("text", ["", "not JSON", json.dumps({"clip_and_seed_sha256": "0"})])
def test_results_of_something_else_are_not_taken(tmp_path, marked, text):
    path = tmp_path / "pairs.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MediaError, match=r"pairs\.jsonl"):
        ResultLog(path, PairResult, clip_header(marked, 0))


def test_single_attacks_go_on_too(tmp_path, marked):
    path = tmp_path / "attacks.jsonl"
    wanted = [BY_NAME["flip"], BY_NAME["grey"]]
    log = ResultLog(path, AttackResult, clip_header(marked, 0))
    measure(OwnMark(RENDER_ID), marked, wanted[:1], on_result=log.add)
    again = ResultLog(path, AttackResult, clip_header(marked, 0))
    new = []
    results = measure(OwnMark(RENDER_ID), marked, wanted, done=again.results, on_result=new.append)
    assert [result.attack for result in results] == ["flip", "grey"]
    assert [result.attack for result in new] == ["grey"]
    with pytest.raises(MediaError, match="others"):
        ResultLog(path, AttackResult, clip_header(marked[:1], 0))
