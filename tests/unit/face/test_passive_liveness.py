"""InsightFace's own class on networks of its published shape, small enough to say what they answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
import pytest
from typer.testing import CliRunner

from portrait_anim.errors import ModelError, ProfileUnavailable, WeightsCorrupt, WeightsMissing
from portrait_anim.face.detect import FaceDetector, choose_face
from portrait_anim.face.identity import five_points
from portrait_anim.face.passive_liveness import InsightFaceLiveness
from portrait_anim.media.image import read_image
from portrait_anim.media.reader import VideoReader
from portrait_anim.media.writer import VideoWriter
from portrait_anim.types import FaceObservation, UInt8Array
from portrait_anim.weights import file_sha256, samples_dir

PORTRAIT, VIDEO = samples_dir() / "portrait.jpg", samples_dir() / "challenge.mp4"
RED, BLUE = (255, 0, 0), (0, 0, 255)
EVERYWHERE = np.full((3, 80, 80), 1 / (3 * 80 * 80), np.float32)
Install = Callable[..., Path]


def eye_of_the_left() -> np.ndarray:
    """Weights that see only what is red at the place of the eye on the viewer's left."""
    weights = np.zeros((3, 80, 80), np.float32)
    weights[0, 37:40, 31:34] = 1 / 9
    return weights


def tiny_network(weights: np.ndarray, gain: float, bias: float) -> bytes:
    """A network `sigmoid(gain * sum(weights * picture) + bias)`: `(1, 3, 80, 80)` RGB in [0, 1] to `(1,)`."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["picture", "weights"], ["weighted"]),
            helper.make_node("ReduceSum", ["weighted", "axes"], ["total"], keepdims=0),
            helper.make_node("Mul", ["total", "gain"], ["enlarged"]),
            helper.make_node("Add", ["enlarged", "bias"], ["logit"]),
            helper.make_node("Sigmoid", ["logit"], ["live"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 80, 80])],
        [helper.make_tensor_value_info("live", TensorProto.FLOAT, [1])],
        [
            helper.make_tensor("weights", TensorProto.FLOAT, [1, 3, 80, 80], weights.ravel()),
            helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
            helper.make_tensor("gain", TensorProto.FLOAT, [1], [gain]),
            helper.make_tensor("bias", TensorProto.FLOAT, [1], [bias]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a tiny network where the published one belongs, and its digest into the package's catalogue."""
    pytest.importorskip("onnx", reason="the passive liveness network needs the extra [arcface]")
    catalog = pytest.importorskip("insightface.addons.catalog", reason="needs the extra [arcface]")

    def build(weights: np.ndarray = EVERYWHERE, *, gain: float = 8.0, bias: float = -4.0) -> Path:
        path = tmp_path / "addons" / "liveness.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tiny_network(weights, gain, bias))
        entry = replace(catalog.ADDON_CATALOG["liveness"], sha256=file_sha256(path))
        monkeypatch.setattr(catalog, "ADDON_CATALOG", {"liveness": entry})
        return tmp_path

    return build


@pytest.fixture(scope="module")
def seen() -> tuple[UInt8Array, FaceObservation]:
    """The sample portrait, whose person does not exist, farther from the camera, and the face in it."""
    image = farther(read_image(PORTRAIT))
    with FaceDetector() as detector:
        return image, choose_face(detector.detect(image), None)


def farther(image: UInt8Array) -> UInt8Array:
    """A picture with more backdrop: the network wants to see five eye distances across."""
    side = len(image) // 4
    return np.pad(image, ((side, side), (side, side), (0, 0)), mode="edge")


def lit(image: UInt8Array, factor: float) -> UInt8Array:
    return np.clip(image * factor, 0, 255).astype(np.uint8)


def with_dot(image: UInt8Array, at: np.ndarray, colour: tuple[int, int, int]) -> UInt8Array:
    """The picture with a square of one colour around a point."""
    painted, (x, y) = image.copy(), np.round(at).astype(int)
    painted[y - 12 : y + 13, x - 12 : x + 13] = colour
    return painted


def test_the_score_follows_the_network(install: Install, seen: tuple[UInt8Array, FaceObservation]) -> None:
    image, face = seen
    judge = InsightFaceLiveness(install())
    scores = [judge(lit(image, factor), face) for factor in (0.2, 0.6, 1.0, 1.5)]
    assert all(score is not None and 0 < score < 1 for score in scores)
    assert scores == sorted(scores)
    assert scores[-1] - scores[0] > 0.3
    surer = InsightFaceLiveness(install(bias=-1.0))(image, face)
    assert surer is not None
    assert surer > judge(image, face)
    assert judge(image, face) == judge(image, face)


def test_the_network_sees_the_aligned_face_in_rgb(install: Install, seen: tuple[UInt8Array, FaceObservation]) -> None:
    image, face = seen
    judge = InsightFaceLiveness(install(eye_of_the_left(), gain=20.0, bias=-16.0))
    left, right = five_points(face)[:2]
    assert judge(with_dot(image, left, RED), face) > 0.95
    assert judge(with_dot(image, left, BLUE), face) < 0.05
    assert judge(with_dot(image, right, RED), face) == pytest.approx(judge(image, face), abs=1e-3)


def test_a_face_at_the_border_is_not_judged(install: Install, seen: tuple[UInt8Array, FaceObservation]) -> None:
    image, face = seen
    left, top = np.floor(face.landmarks.min(axis=0)).astype(int)
    moved = replace(face, landmarks=face.landmarks - (left, top))
    judge = InsightFaceLiveness(install())
    assert judge(np.ascontiguousarray(image[top:, left:]), moved) is None
    assert judge(image, face) is not None


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises((WeightsMissing, ProfileUnavailable), match="expected"):
        InsightFaceLiveness(tmp_path)


def test_an_empty_folder_lacks_the_weights(tmp_path: Path) -> None:
    pytest.importorskip("insightface.addons.catalog", reason="needs the extra [arcface]")
    with pytest.raises(WeightsMissing) as caught:
        InsightFaceLiveness(tmp_path)
    assert caught.value.files == ("addons/liveness.onnx",)


def test_another_file_than_the_published_one_is_refused(install: Install) -> None:
    folder = install()
    published = file_sha256(folder / "addons" / "liveness.onnx")
    (folder / "addons" / "liveness.onnx").write_bytes(tiny_network(EVERYWHERE, 8.0, 4.0))
    with pytest.raises(WeightsCorrupt) as caught:
        InsightFaceLiveness(folder)
    assert caught.value.expected == published
    assert caught.value.actual == file_sha256(folder / "addons" / "liveness.onnx")


def test_a_network_that_gives_no_score_is_an_error(install: Install, seen: tuple[UInt8Array, FaceObservation]) -> None:
    judge = InsightFaceLiveness(install(bias=float("nan")))
    with pytest.raises(ModelError, match="score"):
        judge(*seen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bias", "far", "told"),
    [(8.0, True, ""), (-2.0, True, "sees a picture or a screen"), (8.0, False, "could not judge the video")],
)
def test_the_command_line_enrols_only_whom_the_network_takes_for_alive(
    install: Install, tmp_path: Path, sample_challenge: Random, bias: float, far: bool, told: str
) -> None:
    from portrait_anim.cli import app
    from portrait_anim.consent.registry import list_cameos
    from portrait_anim.consent.store import open_store
    from portrait_anim.enrolment import issue_challenge_for

    folder, home, video = install(gain=0.0, bias=bias), tmp_path / "home", VIDEO
    if far:
        video = tmp_path / "far.mp4"
        with VideoReader(VIDEO) as near, VideoWriter(video, fps=Fraction(15), size=(480, 480), crf=18) as writer:
            for frame in near:
                writer.write(farther(frame.image))
    with open_store(home) as store:
        issued = issue_challenge_for(
            store, portrait=PORTRAIT, name="Actor A", adult_declared=True, random=sample_challenge, num_actions=6,
            now=datetime.now(timezone.utc) - timedelta(minutes=1),
        )  # fmt: skip
    asked = ["--challenge", issued.id, "--portrait", str(PORTRAIT), "--video", str(video), "--home", str(home)]
    done = CliRunner().invoke(app, ["cameo", "enroll", *asked, "--liveness", str(folder)])
    assert done.exit_code == (3 if told else 0), done.output
    assert told in " ".join(done.output.split())
    with open_store(home) as store:
        assert len(list_cameos(store)) == (0 if told else 1)
