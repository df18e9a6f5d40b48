"""Every golden file of the published code that lies beside the repository; the full-size ones one network at a time."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from portrait_anim.errors import InputError
from portrait_anim.evaluation import xportrait2_parity as parity_tool
from portrait_anim.evaluation.xportrait2_golden_file import Golden
from portrait_anim.evaluation.xportrait2_parity import check_file
from portrait_anim.evaluation.xportrait2_rule import rule_state
from portrait_anim.models.xportrait2.adapter import PUBLISHED

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "xportrait2"
FILES = sorted(FOLDER.glob("*.npz"))
QUICK = ("golden_scheduler_preproc.npz",)  # needs no network


def marked(path):
    return pytest.param(path, id=path.stem, marks=[] if path.name in QUICK else pytest.mark.slow)


@pytest.mark.skipif(not FILES, reason="the golden data of the published model are not beside the repository")
@pytest.mark.parametrize("path", [marked(path) for path in FILES])
def test_we_are_the_published_code(path):
    lines = list(check_file(path))
    assert len(lines) >= 3
    assert [line for line in lines if not line.passed] == []


def test_the_rule_fills_what_the_published_one_fills(parity):
    ours, theirs = rule_state(PUBLISHED["motion_encoder"]), parity.published("motion_encoder")
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


def test_a_file_of_any_name_is_known_by_its_arrays_and_a_wrong_number_is_found(parity, tmp_path):
    arrays = parity.arrays("golden_scheduler_preproc.npz")
    arrays["prev"][3] *= 1.00001
    np.savez(tmp_path / "any name.npz", **arrays)
    lines = {line.array: line for line in check_file(tmp_path / "any name.npz")}
    assert not lines["prev"].passed
    assert lines["add_noise"].passed


def test_only_what_was_recorded_is_compared_and_a_batch_of_one_does_not_matter():
    golden = Golden("file", {"latent": np.ones((1, 2), np.float32)})
    (line,) = golden.compare("latent", torch.ones(2))
    assert line.passed
    assert golden.compare("other", torch.ones(2)) == []
    with pytest.raises(InputError, match="shape"):
        golden.compare("latent", torch.ones(3))
    (wrong,) = golden.compare("latent", torch.full((2,), float("nan")))
    assert not wrong.passed


def refused(tmp_path, match, arrays=None, content=None):
    path = tmp_path / "given.npz"
    if content is None:
        np.savez_compressed(path, **arrays)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=match):
        list(check_file(path))


def test_files_that_are_no_golden_files_are_refused(tmp_path):
    refused(tmp_path, r"given\.npz with a", {"a": np.zeros(1)})
    refused(tmp_path, "got none", {})
    for content in (b"", b"PK no", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00 cut off"):
        refused(tmp_path, "cannot read", content=content)
    np.save(tmp_path / "one.npy", np.zeros(3))
    refused(tmp_path, "got one array", content=(tmp_path / "one.npy").read_bytes())
    np.savez(tmp_path / "whole.npz", a=np.arange(1000))
    whole = (tmp_path / "whole.npz").read_bytes()
    refused(tmp_path, "cannot read", content=whole[:100] + b"??????" + whole[106:])
    np.savez(tmp_path / "objects.npz", video=np.array([{}]))
    refused(tmp_path, "cannot read", content=(tmp_path / "objects.npz").read_bytes())
    with pytest.raises(InputError, match="cannot read"):
        list(check_file(tmp_path / "absent.npz"))


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def pictures(*shape):
    return np.zeros((*shape, 3), np.uint8)


WINDOW = {
    "sample": numbers(1, 4, 3, 8, 8), "t": np.int64(1), "eps_full": numbers(2, 4, 3, 8, 8),
    "clip_embed": numbers(1, 768), "ref_latent": numbers(1, 4, 8, 8),
    "motion_cond": numbers(3, 32, 16), "motion_uncond": numbers(1, 32, 16),
}  # fmt: skip
RUN = {
    "ref_u8": pictures(64, 64), "refpose_u8": pictures(30, 30), "driving_u8": pictures(3, 30, 31),
    "noise": numbers(1, 4, 3, 8, 8), "offsets": np.zeros(2, int), "steps": 2, "guidance": 2.5, "context_frames": 24,
    "context_overlap": 4, "video": numbers(1, 3, 3, 64, 64),
}  # fmt: skip
TAPS = {"ref_latent": numbers(1, 4, 8, 8), "clip_embed": numbers(768), "tap00_cond_stats": numbers(18)}
CROPS = {"crops_u8": pictures(2, 20, 20), "bbox": numbers(2, 3)}
STEPS = {"step_t": np.arange(35), "x": numbers(1, 4, 4), "eps": numbers(1, 4, 4), "prev": numbers(35, 1, 4, 4)}
NOT_FINITE = np.full((1, 4, 3, 8, 8), np.nan)


@pytest.mark.parametrize(
    ("file", "change", "match"),
    [
        (WINDOW, {"sample": None}, "'sample' in"),
        (WINDOW, {"sample": NOT_FINITE}, "'sample' .* finite"),
        (WINDOW, {"sample": numbers(2, 4, 3, 8, 8)}, "'sample' .* shape"),
        (WINDOW, {"sample": numbers(1, 4, 33, 8, 8)}, "at most 32 frames"),
        (WINDOW, {"sample": np.array("text")}, "'sample' .* shape"),
        (WINDOW, {"t": 1.5}, "'t' .* whole number"),
        (WINDOW, {"clip_embed": numbers(1, 512)}, "'clip_embed' .* 768"),
        (WINDOW, {"motion_cond": numbers(2, 32, 16)}, r"'motion_cond' .* \(3, any, 16\), got"),
        (WINDOW, {"motion_uncond": None}, "'motion_uncond' in"),
        (WINDOW, {"ref_latent": None}, "'ref_latent' in .* beside it"),
        (RUN, {"noise": None}, "'noise' in"),
        (RUN, {"noise": numbers(1, 4, 3, 8, 9)}, "square 'noise'"),
        (RUN, {"driving_u8": pictures(2, 30, 31)}, r"'driving_u8' .* \(3, any, any, 3\), got"),
        (RUN, {"driving_u8": numbers(3, 30, 31, 3)}, "'driving_u8' .* uint8"),
        (RUN, {"offsets": np.zeros(3, int)}, "'offsets' .* shape"),
        (RUN, {"steps": 0}, "'steps' .* at least 1"),
        (RUN, {"guidance": np.inf}, "'guidance' .* finite"),
        (RUN, {"guidance": np.array("text")}, "'guidance' .* numbers"),
        (RUN, {"context_frames": 40}, "1 to 32 frames"),
        (RUN, {"context_overlap": 24}, "overlap from 0 to 23"),
        (TAPS, {"ref_latent": numbers(1, 3, 8, 8)}, "'ref_latent' .* shape"),
        (CROPS, {"crops_u8": numbers(2, 20, 20, 3)}, "'crops_u8' .* uint8"),
        (CROPS, {"crops_u8": pictures(0, 20, 20)}, "'crops_u8' .* shape"),
        (CROPS, {"bbox": numbers(1, 3)}, r"'bbox' .* \(2, 3\), got"),
        (STEPS, {"eps": numbers(1, 4, 5)}, "'eps' .* shape"),
        (STEPS, {"prev": numbers(34, 1, 4, 4)}, "'prev' .* shape"),
        (STEPS, {"prev": np.full((35, 1, 4, 4), np.inf)}, "'prev' .* finite"),
        (STEPS, {"step_t": np.arange(34.0)[:, None]}, "'step_t' .* shape"),
    ],
)
def test_arrays_that_cannot_be_are_refused_before_any_network_is_built(tmp_path, file, change, match):
    refused(tmp_path, match, {key: value for key, value in (file | change).items() if value is not None})


def test_inputs_may_be_of_16_or_64_bits(parity, tmp_path):
    arrays = parity.arrays("golden_scheduler_preproc.npz")
    for kind in (np.float16, np.float64):
        given = {key: arrays[key].astype(kind) for key in ("x", "eps")}
        np.savez(tmp_path / "given.npz", **arrays | given)
        lines = {line.array: line for line in check_file(tmp_path / "given.npz")}
        assert lines["prev"].passed == lines["add_noise"].passed == (kind is np.float64)
        assert lines["prev"].rms_rel < 1e-3


def test_the_command_prints_a_line_per_array_and_fails_on_an_empty_folder(parity, tmp_path, capsys):
    assert parity_tool.main([str(parity.folder), "golden_scheduler_preproc.npz"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["array"] for line in lines} == {"step_t", "prev", "add_noise", "blur_out"}
    assert parity_tool.main([str(tmp_path)]) == 1
    np.savez(tmp_path / "a.npz", a=np.zeros(1))
    assert parity_tool.main([str(tmp_path)]) == 1
    assert "a.npz" in capsys.readouterr().err
