"""Every golden file of the published code that lies beside the repository; the full-size ones one network at a time."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from portrait_anim.errors import InputError
from portrait_anim.evaluation import xportrait2_parity as parity_tool
from portrait_anim.evaluation.xportrait2_golden import Golden
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
    with pytest.raises(ValueError, match="shape"):
        golden.compare("latent", torch.ones(3))
    (wrong,) = golden.compare("latent", torch.full((2,), float("nan")))
    assert not wrong.passed


def test_files_that_are_no_golden_files_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(1))
    with pytest.raises(InputError, match=r"other\.npz"):
        list(check_file(tmp_path / "other.npz"))
    (tmp_path / "broken.npz").write_bytes(b"PK no")
    with pytest.raises(InputError, match="cannot read"):
        list(check_file(tmp_path / "broken.npz"))


def test_the_command_prints_a_line_per_array_and_fails_on_an_empty_folder(parity, tmp_path, capsys):
    assert parity_tool.main([str(parity.folder), "golden_scheduler_preproc.npz"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["array"] for line in lines} == {"step_t", "prev", "add_noise", "blur_out"}
    assert parity_tool.main([str(tmp_path)]) == 1
