"""From measured curves to figures: the label, missing faces, groups, bars."""

import json
from pathlib import Path

import numpy as np
import pytest

from portrait_anim.errors import InputError
from portrait_anim.evaluation.bars import judge, summarise, summarise_by
from portrait_anim.evaluation.compare import figures_of, score_signals, worst_frames
from portrait_anim.evaluation.curves import FaceCurves, spread
from portrait_anim.evaluation.folders import PICTURE_SUFFIXES, list_files, read_groups
from portrait_anim.evaluation.output import OutputMeasurement, label_hides
from portrait_anim.evaluation.records import PairResult, SignalScore, to_plain
from portrait_anim.evaluation.request import EvaluationRequest
from portrait_anim.evaluation.signals import SIGNAL_NAMES
from portrait_anim.evaluation.truth import TruthScore, TruthTable, flow_in_crop
from portrait_anim.provenance.label import Labeller
from portrait_anim.types import CropTransform

FPS = 25.0


def _curves(face: np.ndarray, count: int = 60, jitter: float = 0.0) -> FaceCurves:
    points = np.zeros((count, 478, 3), np.float32)
    points[:, :, :2] = face
    points[:, :, 0] += 10 * np.sin(np.arange(count) / 9)[:, None]
    points[:, :, :2] += np.random.default_rng(0).normal(0, jitter, (count, 478, 2)) if jitter else 0
    return FaceCurves(points=points, size=(128, 128), fps=FPS)


def _measured(curves: FaceCurves, **changes) -> OutputMeasurement:
    nowhere = np.zeros(len(curves.points), bool)
    values = {
        "curves": curves, "hidden": nowhere, "near": nowhere, "identity": {"dlib": {0: 0.2, 10: 0.4, 20: 0.7}},
        "sharpness": {0: 0.9}, "seams": {0: 1.1, 9: 1.3}, "flicker": 0.1,
    }  # fmt: skip
    return OutputMeasurement(**{**values, **changes})


def test_an_exact_copy_is_as_steady_as_the_driver_and_jitter_is_not(face):
    driver = _curves(face)
    assert figures_of(driver, _measured(driver), {})["steadiness"] == pytest.approx(1)
    restless = figures_of(driver, _measured(_curves(face, jitter=0.5)), {})["steadiness"]
    assert restless is not None
    assert restless > 3


def test_failures_join_missing_faces_and_strangers(face):
    driver, output = _curves(face), _curves(face)
    output.points[30:36] = np.nan
    figures = figures_of(driver, _measured(output), {})
    assert figures["no_face"] == pytest.approx(0.1)
    assert figures["beyond_gate"] == pytest.approx(1 / 3)
    assert figures["failures"] == pytest.approx(0.1 + 0.9 / 3)
    assert figures["identity_worst"] == pytest.approx(0.7)
    hidden = np.zeros(60, bool)
    hidden[30:36] = True
    assert figures_of(driver, _measured(output, hidden=hidden), {})["no_face"] == 0


def test_signals_that_the_driver_does_not_move_are_skipped():
    wave = np.sin(np.arange(60) / 5)
    still = {name: np.zeros(60) for name in SIGNAL_NAMES}
    driver = {**still, "mouth_open": 0.1 * wave, "yaw": 8 * wave}
    output = {**still, "mouth_open": 0.05 * wave}
    scores = score_signals(driver, output, FPS)
    assert set(scores) == {"mouth_open", "yaw"}
    assert scores["mouth_open"].r == pytest.approx(1)
    assert scores["mouth_open"].slope == pytest.approx(0.5)
    assert scores["mouth_open"].speed_std == pytest.approx(0.5)
    assert scores["yaw"].r is None
    output["mouth_open"] = np.full(60, np.nan)
    assert score_signals(driver, output, FPS)["mouth_open"].r is None


def test_worst_frames_are_the_least_alike_and_the_farthest_off(face):
    wave = {name: 0.3 * np.sin(np.arange(60) / 5) for name in SIGNAL_NAMES}
    off = {name: values.copy() for name, values in wave.items()}
    off["mouth_open"][40] += 5
    worst = dict(worst_frames(wave, off, score_signals(wave, off, FPS), _measured(_curves(face))))
    assert {20, 10, 40} <= set(worst)
    assert worst[40].startswith("mouth_open")
    assert worst[20] == "identity 0.70"


def test_label_over_the_face_is_noticed(face):
    curves = _curves(face, count=90)
    labeller = Labeller((128, 128))
    hidden = label_hides(curves.points, labeller, FPS, range(468))
    for index, found in enumerate(hidden):
        left, top, right, bottom = labeller.box(index / FPS)
        x, y = curves.points[index, :468, 0], curves.points[index, :468, 1]
        covered = ((x > left) & (x < right) & (y > top) & (y < bottom)).any()
        assert found or not covered
    assert hidden.any()
    assert not label_hides(np.full((5, 478, 3), np.nan, np.float32), labeller, FPS, [0]).any()


def test_spread_is_even():
    assert spread(range(10), 4) == [0, 3, 6, 9]
    assert spread([], 4) == []
    assert spread([5, 6], 4) == [5, 6]


def _pair(portrait: str, clip: str, r: float | None, **figures: float) -> PairResult:
    score = SignalScore(r=r, slope=r, lag=0.0, driver_std=1.0, output_std=1.0)
    return PairResult(portrait=portrait, clip=clip, num_frames=10, signals={"yaw": score}, figures=figures)


def test_means_count_an_output_that_stands_still_as_zero():
    pairs = [_pair("a", "x", 0.9), _pair("a", "y", None), PairResult(portrait="b", clip="x", status="not usable")]
    summary = summarise(pairs)
    assert (summary.num_pairs, summary.r["yaw"], summary.moved_in["yaw"]) == (2, 0.45, 2)
    assert summary.r["roll"] is None
    groups = summarise_by(pairs, {"a": "dark", "b": "light"}, "portrait")
    assert [(name, group.num_pairs) for name, group in groups.items()] == [("dark", 2), ("light", 0)]


def test_bars_are_judged_and_what_is_not_measured_is_no_pass():
    truth = TruthTable(
        scores={name: TruthScore(psnr=p, ssim=s, psnr_face=None, flow_error=None, flow_error_face=None)
                for name, p, s in (("still", 15, 0.5), ("landmarks", 20, 0.6), ("warp", 22, 0.7), ("full", 22, 0.605))},
        num_samples=3, num_skipped=0,
    )  # fmt: skip
    summary = summarise([_pair("a", "x", 0.96, sharpness=0.7, identity_mean=0.3)])
    verdicts = {v.figure: v for v in judge(summary, truth)}
    assert verdicts["r yaw"].passed is True
    assert verdicts["r roll"].passed is None
    assert verdicts["identity distance (dlib), mean"].passed is True
    assert verdicts["sharpness in the face, output over portrait"].passed is False
    assert verdicts["PSNR above the better baseline"].passed is True
    assert verdicts["SSIM above the better baseline"].passed is False
    assert {v.figure: v for v in judge(summary, None)}["PSNR above the better baseline"].value is None


def test_results_survive_json():
    pair = _pair("a", "x", None, seam=float("nan"))
    back = PairResult.from_dict(json.loads(json.dumps(to_plain(pair))))
    assert back.signals == pair.signals
    assert back.figures == {"seam": None}


def test_files_get_unique_names_and_others_are_told(tmp_path: Path):
    for name in ("b.png", "a.jpg", "a.png", "a b.jpg", "a_b.jpg", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    files, ignored = list_files(tmp_path, PICTURE_SUFFIXES, what="portraits")
    assert len({item.name for item in files}) == len(files) == 5
    assert {item.path.name: item.name for item in files}["b.png"] == "b"
    assert ignored == ["notes.txt"]
    with pytest.raises(InputError, match="no folder"):
        list_files(tmp_path / "absent", PICTURE_SUFFIXES, what="portraits")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="0 file"):
        list_files(tmp_path / "empty", PICTURE_SUFFIXES, what="portraits")


def test_groups_are_read_by_stem(tmp_path: Path):
    path = tmp_path / "groups.csv"
    path.write_text("portrait,tone,glasses\n0024.jpg,dark,no\n0036,light,\n", encoding="utf-8")
    assert read_groups(path) == {"0024": {"tone": "dark", "glasses": "no"}, "0036": {"tone": "light", "glasses": ""}}
    assert read_groups(None) == {}
    path.write_text("name,tone\n0024,dark\n", encoding="utf-8")
    with pytest.raises(InputError, match="columns"):
        read_groups(path)


def test_requests_are_checked(tmp_path: Path):
    for wrong in ({"seconds": 0.0}, {"jobs": 0}):
        with pytest.raises(ValueError, match="must be"):
            EvaluationRequest(portraits=tmp_path, clips=tmp_path, out=tmp_path, home=tmp_path, **wrong)


def test_true_flow_moves_into_a_crop():
    side, size = 64, 40
    line = (np.arange(32) + 0.5) * 2
    flow = np.stack(np.meshgrid(line, line), axis=-1).astype(np.float32)
    flow[..., 0] += 4  # every pixel comes from 4 px to the right
    transform = CropTransform(matrix=np.array([[0.5, 0.0, 4.0], [0.0, 0.5, 4.0]]), size_px=size)
    moved, seen = flow_in_crop(flow, np.ones((32, 32), np.float32), transform, side)
    inside = np.zeros((size, size), bool)
    inside[6:-6, 6:-6] = True
    assert seen[inside].all()
    assert not seen[0].any()
    y, x = np.mgrid[:size, :size] + 0.5
    np.testing.assert_allclose(moved[inside], np.stack([x + 2, y], axis=-1)[inside], atol=1e-3)
