from pathlib import Path

import numpy as np
import pytest

from portrait_anim.errors import InputError, MediaError
from portrait_anim.training.synthetic.pack import Pack, decode_picture, read_pack
from portrait_anim.training.synthetic.people import load_cast


def test_no_path_tells_where_to_get_a_pack() -> None:
    with pytest.raises(InputError, match="--pack PATH"):
        read_pack(None)


def test_absent_foreign_and_incomplete_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_pack(tmp_path / "none.npz")
    text = tmp_path / "text.npz"
    text.write_text("this is not an archive")
    with pytest.raises(InputError, match="does not load"):
        read_pack(text)
    empty = tmp_path / "empty.npz"
    empty.touch()
    with pytest.raises(InputError, match="does not load"):
        read_pack(empty)
    other = tmp_path / "other.npz"
    np.savez(other, neutral=np.zeros(3))
    with pytest.raises(InputError, match="named arrays"):
        read_pack(other)


def test_numbers_are_looked_up_in_the_order_given(tmp_path: Path) -> None:
    pack = Pack(arrays={"id_number": np.array([4, 9, 21])}, path=tmp_path)
    assert pack.rows([21, 4]).tolist() == [2, 0]
    assert pack.rows(None).tolist() == [0, 1, 2]
    with pytest.raises(InputError, match=r"\[5\]"):
        pack.rows([4, 5])


def test_a_damaged_picture_is_a_media_error(tmp_path: Path) -> None:
    broken = tmp_path / "0004.jpg"
    broken.write_bytes(b"\xff\xd8 not a picture")
    with pytest.raises(MediaError, match=r"0004\.jpg"):
        decode_picture(broken)


def test_people_of_the_pack_load(pack: Pack) -> None:
    cast = load_cast(pack, numbers=(42, 67))
    assert cast.people.number.tolist() == [42, 67]
    assert cast.textures.photo.shape == (2, 3, 384, 384)
    assert cast.people.vertices[..., 2].max() < -30  # in front of the camera
    assert (cast.people.yaw.abs() < 25).all()


def test_sharper_photographs_that_are_absent_are_named(pack: Pack, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"0042\.jpg"):
        load_cast(pack, numbers=(42,), photos=tmp_path)
