from __future__ import annotations

import resource
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms

from portrait_anim.errors import MediaError
from portrait_anim.media.image import (
    from_tensor,
    is_image,
    pixel_digest,
    read_image,
    read_size,
    resize,
    to_tensor,
    write_image,
)


@pytest.fixture
def colours():
    """`(24, 36, 3)` uint8 with a different colour in each 12 px square."""
    rng = np.random.default_rng(3)
    return rng.integers(0, 255, (2, 3, 3), dtype=np.uint8).repeat(12, 0).repeat(12, 1)


@pytest.mark.parametrize(
    ("name", "tolerance"), [("a.png", 0), ("a.bmp", 0), ("a.tiff", 0), ("a.jpg", 6), ("a.webp", 12)]
)
def test_formats(tmp_path, colours, name, tolerance):
    Image.fromarray(colours).save(tmp_path / name, **({"quality": 98} if tolerance else {}))
    image = read_image(tmp_path / name)
    assert (image.shape, image.dtype) == (colours.shape, np.uint8)
    assert np.median(np.abs(image.astype(int) - colours)) <= tolerance
    assert is_image(tmp_path / name)


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 0], rgba[:2, :, 3], rgba[2, :, 3] = 255, 0, 128
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[2, 0].tolist() == [255, 127, 127]
    rgba[3, :, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "a.webp", lossless=True)
    assert read_image(tmp_path / "a.webp")[0, 0].tolist() == [255, 255, 255]


def test_palette_with_and_without_transparency(tmp_path, colours):
    palette = Image.fromarray(colours).quantize(8)
    palette.save(tmp_path / "p.png")
    assert np.array_equal(read_image(tmp_path / "p.png"), np.asarray(palette.convert("RGB")))
    palette.save(tmp_path / "t.png", transparency=palette.getpixel((0, 0)))
    image = read_image(tmp_path / "t.png")
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[-1, -1].tolist() == colours[-1, -1].tolist()


def test_transparent_colour_of_an_rgb_picture(tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a.png", transparency=tuple(int(v) for v in colours[0, 0]))
    image = read_image(tmp_path / "a.png")
    assert image[0, 0].tolist() == [255, 255, 255]
    assert np.array_equal(image[12:], colours[12:])


def test_16_bit_grey_is_scaled_not_clipped(tmp_path):
    values = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = np.rint(values / 257).astype(np.uint8)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.repeat(expected[..., None], 3, axis=2))
    Image.fromarray(values).save(tmp_path / "a.tiff")
    assert np.array_equal(read_image(tmp_path / "a.tiff")[..., 0], expected)


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour(tmp_path, colours, channels):
    cv2 = pytest.importorskip("cv2")
    values = np.concatenate([colours, np.full((24, 36, 1), 255, np.uint8)], axis=2)[..., :channels]
    swapped = values[..., [2, 1, 0, 3][:channels]].astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "a.png"), swapped)
    assert np.array_equal(read_image(tmp_path / "a.png"), colours)


def test_grey_bilevel_and_cmyk(tmp_path, colours):
    Image.fromarray(colours).convert("L").save(tmp_path / "g.png")
    grey = read_image(tmp_path / "g.png")
    assert np.array_equal(grey[..., 0], grey[..., 2])
    Image.fromarray(colours).convert("1").save(tmp_path / "1.png")
    assert set(np.unique(read_image(tmp_path / "1.png"))) <= {0, 255}
    Image.fromarray(colours).convert("LA").save(tmp_path / "la.png")
    assert np.array_equal(read_image(tmp_path / "la.png"), grey)
    for name in ("c.jpg", "c.tiff"):
        Image.fromarray(colours).convert("CMYK").save(
            tmp_path / name, **({"quality": 98} if "j" in name else {})
        )
        assert np.median(np.abs(read_image(tmp_path / name).astype(int) - colours)) <= 4


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tiff", "a.webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, colours, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(colours)
    expected = _viewer(stored, orientation)
    stored.save(tmp_path / name, exif=exif, **({"quality": 98} if name[2] in "jw" else {}))
    image = read_image(tmp_path / name)
    assert image.shape == expected.shape
    assert np.median(np.abs(image.astype(int) - expected)) <= 12
    assert read_size(tmp_path / name)[:2] == (expected.shape[1], expected.shape[0])


def _viewer(stored: Image.Image, orientation: int) -> np.ndarray:
    """Orientation as the EXIF standard words it: where row 0 and column 0 of what is stored are seen."""
    array = np.asarray(stored)
    if orientation >= 5:
        array = array.transpose(1, 0, 2)
    rows_up = orientation in (3, 4, 7, 8)
    columns_left = orientation in (2, 3, 6, 7)
    return array[:: -1 if rows_up else 1, :: -1 if columns_left else 1]


def test_embedded_profile_is_applied(tmp_path):
    """A picture whose profile has swapped primaries must come out with them swapped back."""
    red = Image.new("RGB", (8, 8), (200, 40, 40))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    red.save(tmp_path / "s.png", icc_profile=srgb)
    assert read_image(tmp_path / "s.png")[0, 0].tolist() == [200, 40, 40]
    xyz, name = ImageCms.createProfile("XYZ"), "x.png"
    red.save(tmp_path / name, icc_profile=ImageCms.ImageCmsProfile(xyz).tobytes())
    assert read_image(tmp_path / name).shape == (8, 8, 3)
    red.save(tmp_path / "bad.png", icc_profile=b"not a profile")
    assert read_image(tmp_path / "bad.png")[0, 0].tolist() == [200, 40, 40]


def test_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[1, 2, 3]]]


def test_large_pictures_are_reduced(tmp_path):
    Image.new("RGB", (900, 300), (10, 200, 30)).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", max_side_px=400)
    assert image.shape == (100, 300, 3)
    assert read_image(tmp_path / "a.png", max_side_px=800).shape == (267, 800, 3)
    assert np.abs(image.astype(int) - [10, 200, 30]).max() <= 1
    assert read_image(tmp_path / "a.png", max_side_px=900).shape == (300, 900, 3)


def test_strips_join_without_a_seam(tmp_path, monkeypatch):
    from portrait_anim.media import picture

    ramp = np.linspace(0, 255, 600).astype(np.uint8)[:, None, None].repeat(200, 1).repeat(3, 2)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    whole = read_image(tmp_path / "a.png", max_side_px=150)
    monkeypatch.setattr(picture, "_STRIP_PIXELS", 200 * 37)
    assert np.array_equal(read_image(tmp_path / "a.png", max_side_px=150), whole)
    assert (np.diff(whole[:, 0, 0].astype(int)) >= 0).all()


@pytest.mark.parametrize(
    ("name", "mode", "limit_mb"), [("a.png", "RGB", 450), ("a.png", "P", 260), ("a.jpg", "RGB", 200)]
)
def test_8000_pixels_flat_do_not_blow_up_memory(tmp_path, peak_growth, name, mode, limit_mb):
    flat = Image.new(mode, (8000, 8000), 3 if mode == "P" else (90, 120, 150))
    flat.save(tmp_path / name, **({"compress_level": 1} if name == "a.png" else {}))
    setup = "from portrait_anim.media.image import read_image"
    body = "assert read_image(sys.argv[1]).shape == (4000, 4000, 3)"
    assert peak_growth(setup, body, tmp_path / name) < limit_mb  # Pillow's decoded pixels alone are 256 MB


def test_more_than_100_megapixels_are_refused_unread(tmp_path):
    Image.new("1", (10001, 10000)).save(tmp_path / "a.png")
    for function in (read_image, read_size):
        with pytest.raises(MediaError, match="100 megapixels"):
            function(tmp_path / "a.png")
    Image.new("1", (20000, 20000)).save(tmp_path / "b.png")
    with pytest.raises(MediaError, match="100 megapixels"):
        read_image(tmp_path / "b.png")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff", "a.bmp"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_truncated(tmp_path, name, share):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(MediaError, match="Expected"):
        read_image(tmp_path / name)


def test_not_a_picture(tmp_path, make_clip):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello")
    clip = make_clip("clip.mp4")
    for path in (tmp_path / "empty.png", tmp_path / "text.png", tmp_path / "none.png", tmp_path, clip):
        with pytest.raises(MediaError, match="Expected"):
            read_image(path)
        assert not is_image(path)


def test_animation_is_not_a_still_picture(tmp_path):
    frames = [Image.new("RGB", (8, 8), (index, 0, 0)) for index in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "one.gif")
    assert not is_image(tmp_path / "a.gif")
    assert is_image(tmp_path / "one.gif")


@pytest.mark.parametrize(("name", "tolerance"), [("o.png", 0), ("o.jpg", 6), ("o.JPEG", 6), ("o.webp", 12)])
def test_write(tmp_path, colours, name, tolerance):
    write_image(tmp_path / name, colours)
    assert np.median(np.abs(read_image(tmp_path / name).astype(int) - colours)) <= tolerance
    first = (tmp_path / name).read_bytes()
    write_image(tmp_path / name, colours)
    assert (tmp_path / name).read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_write_refuses(tmp_path, colours):
    with pytest.raises(MediaError, match=r"\.png"):
        write_image(tmp_path / "o.mp4", colours)
    with pytest.raises(MediaError, match="folder"):
        write_image(tmp_path / "no" / "o.png", colours)
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "o.png", colours.astype(np.float32))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="limits of the process are a Unix matter")
def test_write_on_a_full_disk(tmp_path, colours):
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    write_image(tmp_path / "o.png", colours)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(MediaError, match="disk is full"):
            write_image(tmp_path / "o.png", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [file.name for file in tmp_path.iterdir()] == ["o.png"]
    assert np.array_equal(read_image(tmp_path / "o.png"), colours)


def test_tensors_and_back():
    torch = pytest.importorskip("torch")
    frames = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    tensor = to_tensor(frames)
    assert (tuple(tensor.shape), tensor.dtype, tensor.is_contiguous()) == ((3, 3, 5, 7), torch.float32, True)
    assert float(tensor[1, 2, 3, 4]) == pytest.approx(frames[1, 3, 4, 2] / 255)
    assert np.array_equal(from_tensor(tensor), frames)
    assert from_tensor(torch.tensor([-1.0, 0.5, 2.0]).reshape(1, 3, 1, 1)).tolist() == [[[[0, 128, 255]]]]
    assert from_tensor(tensor.half()).dtype == np.uint8
    for wrong in (frames[0], frames.astype(np.float32)):
        with pytest.raises(ValueError, match="Expected"):
            to_tensor(wrong)
    with pytest.raises(ValueError, match="Expected"):
        from_tensor(tensor.permute(0, 2, 3, 1))


@pytest.mark.parametrize("interpolation", ["nearest", "area", "bilinear", "bicubic", "lanczos"])
def test_resize(colours, interpolation):
    assert resize(colours, (18, 6), interpolation).shape == (6, 18, 3)
    assert resize(colours, 50, interpolation).shape == (50, 50, 3)
    same = resize(colours, (36, 24), interpolation)
    assert np.array_equal(same, colours)
    assert same is not colours


def test_resize_refuses(colours):
    with pytest.raises(ValueError, match="at least"):
        resize(colours, (0, 5))
    with pytest.raises(ValueError, match="filter"):
        resize(colours, 5, "cubic-ish")


def test_pixel_digest(tmp_path, colours):
    write_image(tmp_path / "one.png", colours)
    Image.fromarray(colours).save(tmp_path / "two.bmp")
    digest = pixel_digest(read_image(tmp_path / "one.png"))
    assert digest == pixel_digest(read_image(tmp_path / "two.bmp"))
    assert len(digest) == 64
    assert digest != pixel_digest(colours.transpose(1, 0, 2))
    assert digest != pixel_digest(colours.reshape(36, 24, 3))
    changed = colours.copy()
    changed[0, 0, 0] ^= 1
    assert digest != pixel_digest(changed)
