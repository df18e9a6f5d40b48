import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portrait_anim.errors import MediaError
from portrait_anim.evaluation import picture_metrics
from portrait_anim.media.image import read_image, resize, write_image
from portrait_anim.media.writer import VideoWriter
from portrait_anim.provenance import watermark_pattern
from portrait_anim.provenance.watermark import MAX_RENDER_ID, Watermarker, read_file, read_frames

PORTRAIT = Path(__file__).resolve().parents[3] / "demo" / "samples" / "portrait.jpg"
RENDER_ID = 0xC0FFEE_5EED42 & MAX_RENDER_ID


@pytest.fixture(scope="module")
def portrait():
    return resize(read_image(PORTRAIT), 512)


@pytest.fixture(scope="module")
def marked(portrait):
    return Watermarker(RENDER_ID, (512, 512)).mark(portrait)


@pytest.mark.parametrize("render_id", [0, 1, MAX_RENDER_ID, 0x123456789ABC])
def test_one_picture_gives_its_id_back(portrait, render_id):
    reading = read_frames([Watermarker(render_id, (512, 512)).mark(portrait)])
    assert reading is not None
    assert reading.render_id == render_id
    assert reading.log10_false_positive < -12
    assert reading.frames_used == 1
    assert not reading.mirrored
    assert reading.scale == pytest.approx(1, abs=0.01)
    assert reading.rotation_deg == pytest.approx(0, abs=0.5)


def test_the_mark_changes_little(portrait, marked):
    assert picture_metrics.psnr(marked, portrait) >= 42
    assert picture_metrics.ssim(marked, portrait) >= 0.99
    change = marked.astype(int) - portrait
    inside = (portrait.min(axis=2) > 12) & (portrait.max(axis=2) < 243)
    assert np.ptp(change, axis=2)[inside].max() <= 1  # colours are not touched, but where black or white is reached
    flat = np.full((512, 512, 3), 120, np.uint8)
    assert np.abs(Watermarker(RENDER_ID, (512, 512)).mark(flat).astype(int) - flat).max() <= 2


def test_flat_areas_get_a_grain_and_no_blobs():
    flat = np.full((512, 512, 3), 120, np.uint8)
    change = Watermarker(RENDER_ID, (512, 512)).mark(flat)[..., 0].astype(np.float32) - 120
    assert np.abs(cv2.blur(change, (9, 9))).max() < 1  # no place is a level off
    alone = np.abs(change[1:-1, 1:-1]) > 0
    same = sum((np.roll(change, shift, axis)[1:-1, 1:-1] == change[1:-1, 1:-1]) for shift in (1, -1) for axis in (0, 1))
    assert same[alone].mean() < 2  # of four neighbours; an undithered mark has more than three
    assert read_frames([np.dstack([change + 120] * 3).astype(np.uint8)]).render_id == RENDER_ID


def test_black_stays_black():
    black = np.zeros((256, 256, 3), np.uint8)
    assert Watermarker(RENDER_ID, (256, 256)).mark(black).mean() < 0.15


def test_nothing_flickers(portrait):
    marker = Watermarker(RENDER_ID, (512, 512))
    np.testing.assert_array_equal(marker.mark(portrait), marker.mark(portrait))


def test_the_strongest_texture_keeps_the_ratio():
    texture = np.random.default_rng(0).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    assert picture_metrics.psnr(Watermarker(1, (256, 256)).mark(texture), texture) >= 42


def test_the_input_is_not_changed(portrait):
    before = portrait.copy()
    view = portrait[::1, ::1]
    Watermarker(RENDER_ID, (512, 512)).mark(view)
    np.testing.assert_array_equal(before, portrait)


def test_no_mark_is_read_where_none_is(portrait):
    assert read_frames([portrait[:200, :200]]) is None
    assert read_frames([np.zeros((200, 200, 3), np.uint8)]) is None
    assert read_frames([]) is None


def test_geometry_is_told(marked):
    matrix = cv2.getRotationMatrix2D((256, 256), 6.0, 0.8)
    turned = cv2.warpAffine(marked[:, ::-1].copy(), matrix, (512, 512))
    reading = read_frames([turned])
    assert reading is not None
    assert reading.render_id == RENDER_ID
    assert reading.mirrored
    assert reading.scale == pytest.approx(0.8, abs=0.01)
    assert reading.rotation_deg == pytest.approx(-6, abs=0.5)


@given(
    left=st.integers(0, 115), top=st.integers(0, 115), scale=st.floats(0.6, 1.6),
)  # fmt: skip
@settings(max_examples=5)
def test_any_crop_at_any_scale(marked, left, top, scale):
    crop = marked[top : top + 397, left : left + 397]
    side = round(397 * scale)
    reading = read_frames([cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)])
    assert reading is not None
    assert reading.render_id == RENDER_ID


def test_a_third_of_the_size_is_read(marked):
    reading = read_frames([cv2.resize(marked, (179, 179), interpolation=cv2.INTER_AREA)])
    assert reading is not None
    assert reading.scale == pytest.approx(0.35, abs=0.01)


def test_perspective_is_found(marked):
    corners = np.array([[0, 0], [512, 0], [512, 512], [0, 512]], np.float32)
    moved = corners + np.array([[25, -20], [-22, 18], [20, 24], [-18, -22]], np.float32)
    tilted = cv2.warpPerspective(marked, cv2.getPerspectiveTransform(corners, moved), (512, 512))
    reading = read_frames([tilted])
    assert reading is not None
    assert reading.render_id == RENDER_ID


def test_frames_help_each_other(marked):
    rng = np.random.default_rng(5)
    noisy = [np.clip(marked + rng.normal(0, 70, marked.shape), 0, 255).astype(np.uint8) for _ in range(12)]
    assert read_frames(noisy[:1], budget_s=0.5) is None
    reading = read_frames(noisy)
    assert reading is not None
    assert reading.render_id == RENDER_ID
    assert reading.frames_used > 1


def test_a_larger_picture_carries_a_larger_pattern(portrait):
    large = resize(portrait, (1200, 1080))
    marked = Watermarker(RENDER_ID, (1200, 1080)).mark(large)
    for size in ((1200, 1080), (600, 540)):
        reading = read_frames([resize(marked, size)])
        assert reading is not None
        assert reading.render_id == RENDER_ID


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (64, 64), (97, 131)])
def test_tiny_pictures_are_marked_without_harm_and_read_as_nothing(size):
    image = np.full((size[1], size[0], 3), 90, np.uint8)
    marked = Watermarker(RENDER_ID, size).mark(image)
    assert marked.shape == image.shape
    reading = read_frames([marked], budget_s=1.0)
    assert reading is None or reading.render_id == RENDER_ID


def test_frames_of_another_size_are_left_out(marked):
    reading = read_frames([marked, marked[:100, :100], marked])
    assert reading is not None


def test_a_spent_budget_ends_the_search(portrait):
    assert read_frames([portrait], budget_s=0.0) is None


@pytest.mark.parametrize("bad", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3), np.float32)])
def test_what_is_no_picture_is_refused(bad):
    with pytest.raises(ValueError, match="image"):
        read_frames([bad])
    with pytest.raises(ValueError, match="image"):
        Watermarker(1, (5, 5)).mark(bad)


def test_wrong_sizes_and_ids_are_refused(portrait):
    with pytest.raises(ValueError, match="256x256"):
        Watermarker(1, (256, 256)).mark(portrait)
    with pytest.raises(ValueError, match="1x1"):
        Watermarker(1, (0, 5))
    with pytest.raises(ValueError, match="48"):
        Watermarker(1 << 48, (64, 64))


def test_files(tmp_path, portrait, marked):
    write_image(tmp_path / "marked.png", marked)
    reading = read_file(tmp_path / "marked.png")
    assert reading is not None
    assert reading.render_id == RENDER_ID
    with VideoWriter(tmp_path / "clip.mp4", fps=25, size=(512, 512)) as video:
        for shift in range(6):
            video.write(Watermarker(RENDER_ID, (512, 512)).mark(np.roll(portrait, 2 * shift, axis=1)))
    reading = read_file(tmp_path / "clip.mp4")
    assert reading is not None
    assert reading.render_id == RENDER_ID


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    for name in ("text.mp4", "missing.png"):
        with pytest.raises(MediaError):
            read_file(tmp_path / name)
    with pytest.raises(ValueError, match="max_frames"):
        read_file(tmp_path / "text.mp4", max_frames=0)


def test_the_pattern_repeats_without_a_seam():
    tile = watermark_pattern.tile(RENDER_ID, watermark_pattern.TILE_PX)
    across = np.abs(tile[:, 0] - tile[:, -1]).mean()
    assert across < 1.2 * np.abs(np.diff(tile, axis=1)).mean()
    assert abs(float(tile.mean())) < 0.02
    assert float(tile.std()) == pytest.approx(1, abs=0.03)


def test_version_1_of_the_pattern_stays_readable():
    """A change here makes all marks in the world unreadable: it needs a new version beside this one."""
    waves = watermark_pattern.lattice()
    turns = np.round(np.angle(watermark_pattern.phases()) / np.pi * 1000).astype(np.int64)
    signs = np.sign(watermark_pattern.symbols(0x123456789ABC).real).astype(np.int64)
    digest = hashlib.sha256(b"".join(part.astype("<i8").tobytes() for part in (waves, turns, signs))).hexdigest()
    assert digest == "0dd1781153ad3e677184fbc47c81feb386a030a0c12f944998f10d5f9fe64028"


def test_a_marked_part_of_a_clip_is_enough(marked):
    other = np.random.default_rng(7).integers(0, 256, (512, 512, 3)).astype(np.uint8)
    reading = read_frames([other] * 20 + [marked] * 12)
    assert reading is not None
    assert reading.render_id == RENDER_ID
