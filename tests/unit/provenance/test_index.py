from __future__ import annotations

import os
import stat
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from portrait_anim.errors import ProvenanceError
from portrait_anim.provenance.fingerprint import VideoFingerprint
from portrait_anim.provenance.index import INDEX_FILE, PublishedFile, RenderIndex

MADE = datetime(2030, 5, 1, 12, tzinfo=timezone.utc)


def looks(seed: int, count: int = 16) -> VideoFingerprint:
    rng = np.random.default_rng(seed)
    return VideoFingerprint(
        times_s=np.arange(count) / 8, hashes=rng.integers(0, 2**64, (count, 4), np.uint64, endpoint=False)
    )


def published(number: int, *, watermark: int | None = 7, cameos: tuple[str, ...] = ("cam_1",)) -> PublishedFile:
    return PublishedFile(
        sha256=f"{number:064x}",
        watermark=watermark,
        permit_id=f"per_{number:016x}",
        cameo_ids=cameos,
        created=MADE + timedelta(minutes=number),
        manifest='{"manifests": {}}',
        fingerprint=looks(number),
    )


def test_reading_creates_nothing(tmp_path: Path) -> None:
    index = RenderIndex(tmp_path / "home")
    assert index.by_watermark(7) is None
    assert index.by_fingerprint(looks(1)) is None
    assert index.forget("cam_1") == 0
    assert not (tmp_path / "home").exists()


def test_found_by_mark_and_by_looks(tmp_path: Path) -> None:
    index = RenderIndex(tmp_path / "home")
    for number in range(1, 6):
        index.add(published(number, watermark=100 + number))
    found = index.by_watermark(103)
    assert found is not None
    assert found.permit_id == f"per_{3:016x}"
    assert found.created == MADE + timedelta(minutes=3)
    assert found.manifest == '{"manifests": {}}'
    assert index.by_watermark(99) is None
    part = VideoFingerprint(times_s=looks(4).times_s[:9:4], hashes=looks(4).hashes[3:12:4])
    alike = index.by_fingerprint(part)
    assert alike is not None
    assert alike.file.sha256 == f"{4:064x}"
    assert alike.similarity > 0.99
    assert alike.rival < 0.5
    assert index.by_fingerprint(looks(77)) is None
    if sys.platform != "win32":
        assert stat.S_IMODE((tmp_path / "home" / INDEX_FILE).stat().st_mode) == 0o600


def test_the_first_of_one_mark_and_adding_twice(tmp_path: Path) -> None:
    index = RenderIndex(tmp_path)
    index.add(published(2))
    index.add(published(1))
    index.add(published(1))
    found = index.by_watermark(7)
    assert found is not None
    assert found.sha256 == f"{1:064x}"
    index.add(published(9, watermark=None))
    assert index.by_watermark(0) is None


def test_a_second_render_that_looks_the_same_is_a_rival_and_a_second_file_of_one_render_is_not(tmp_path: Path) -> None:
    index = RenderIndex(tmp_path)
    index.add(published(1))
    index.add(replace(published(1), sha256="a" * 64))
    alike = index.by_fingerprint(looks(1))
    assert alike is not None
    assert alike.rival == 0
    index.add(replace(published(1), sha256="b" * 64, permit_id="per_other"))
    alike = index.by_fingerprint(looks(1))
    assert alike is not None
    assert alike.rival > 0.99


def test_forgetting_leaves_no_trace(tmp_path: Path) -> None:
    index = RenderIndex(tmp_path)
    index.add(published(1, cameos=("cam_gone",)))
    index.add(published(2, cameos=("cam_stays", "cam_gone_not")))
    index.add(published(3, cameos=("cam_stays", "cam_gone")))
    assert index.forget("cam_") == 0
    assert index.forget("cam_gone") == 2
    assert index.by_fingerprint(looks(3)) is None
    assert index.by_fingerprint(looks(1)) is None
    assert index.by_fingerprint(looks(2)) is not None
    assert b" cam_gone " not in (tmp_path / INDEX_FILE).read_bytes()
    assert looks(1).to_bytes()[100:140] not in (tmp_path / INDEX_FILE).read_bytes()


def test_damaged_index_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / INDEX_FILE).write_bytes(b"no database" * 100)
    index = RenderIndex(tmp_path)
    with pytest.raises(ProvenanceError, match="move it away"):
        index.by_watermark(7)
    with pytest.raises(ProvenanceError, match="move it away"):
        index.by_fingerprint(looks(1))
    with pytest.raises(ProvenanceError, match="move it away"):
        index.add(published(1))
    os.unlink(tmp_path / INDEX_FILE)
    (tmp_path / INDEX_FILE).mkdir()
    with pytest.raises(ProvenanceError, match="index of published files"):
        index.by_watermark(7)
