"""A smaller pack is read by the same loader and shows the same people."""

from pathlib import Path

import numpy as np
import pytest

from portrait_anim.errors import InputError
from portrait_anim.training.synthetic.build_pack import coarser, main, psnr_between
from portrait_anim.training.synthetic.pack import Pack, read_pack


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_coarser_numbers_stay_near_and_in_range(dtype: type[np.integer]) -> None:
    info = np.iinfo(dtype)
    values = np.arange(info.min, info.max + 1).astype(dtype)
    out = coarser(values, 16)
    assert out.dtype == dtype
    assert np.abs(out.astype(int) - values.astype(int)).max() <= 16
    assert out[-1] == info.max
    assert len(np.unique(out)) <= 18


def test_a_small_pack_of_few_people(pack: Pack, tmp_path: Path) -> None:
    keep = {65, 185, 297}
    without = [str(n) for n in pack.numbers if int(n) not in keep]
    path = tmp_path / "small.npz"
    common = ["--source", str(pack.path), "--out", str(path), "--check", "0", "--without", *without]
    assert main([*common, "--max-mb", "3"]) == 0
    assert path.stat().st_size <= 3e6
    small = read_pack(path)
    assert set(small.numbers.tolist()) == keep
    assert psnr_between(pack, small, sorted(keep)) > 30
    with pytest.raises(InputError, match="--max-mb"):
        main([*common, "--max-mb", "0.01"])
    assert [p.name for p in tmp_path.iterdir()] == ["small.npz"]
