"""Make a data pack small enough to travel: `python -m portrait_anim.training.synthetic.build_pack --source A --out B`.

Photographs and the other pictures are coded again as WebP, the per-vertex and per-node tables of the people lose their
lowest bits (they compress better), and the best picture quality that keeps the file below the limit is taken. The
result is read by the same loader. Young identities are not in the source pack; `--without` leaves out more numbers.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from portrait_anim.errors import InputError
from portrait_anim.training.synthetic.pack import Pack, read_pack
from portrait_anim.training.synthetic.renderer import Renderer
from portrait_anim.types import UInt8Array

PICTURES: Final = ("photo", "alpha", "plate", "behind", "eye")
PHOTO_QUALITIES: Final = (88, 82, 76, 70, 62, 54, 45, 35)
_OTHER_QUALITY: Final = 70
# Lowest steps of a stored number that are given up: residuals [1/127 cm], visibility, fill colour and depth [1/255]
_STEPS: Final[Mapping[str, int]] = {"id_residual": 4, "id_visible": 16, "id_fill": 8, "id_depth": 2}


def coarser(values: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
    """Round an integer array to multiples of `step`, same type, without leaving its range.

    Args:
        values: Any shape, int8 or uint8.
        step: Size of a step.

    Returns:
        Values at most `step` away; the largest stays the largest, so that full visibility stays full.
    """
    info = np.iinfo(values.dtype)
    rounded = np.round(values.astype(np.float32) / step) * step
    return np.where(values == info.max, info.max, np.clip(rounded, info.min, info.max)).astype(values.dtype)


def encode(picture: UInt8Array, quality: int) -> bytes:
    """Code a picture `(H, W, 3)` uint8 RGB as WebP of a quality from 0 to 100."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="WEBP", quality=quality, method=4)
    return out.getvalue()


def repack(pack: Pack, rows: Sequence[int], photo_quality: int) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a smaller pack.

    Args:
        pack: The pack to take from.
        rows: Rows of the people to keep.
        photo_quality: WebP quality of the photographs, 0 to 100.

    Returns:
        Arrays by name, as `read_pack` expects them.
    """
    keep = np.asarray(rows, dtype=np.int64)
    out: dict[str, npt.NDArray[Any]] = {}
    for name, values in pack.arrays.items():
        if name.rsplit("_", 1)[0] in PICTURES:
            continue
        out[name] = values[keep] if name.startswith("id_") else values
        if name in _STEPS:
            out[name] = coarser(out[name], _STEPS[name])
    for name in PICTURES:
        quality = photo_quality if name == "photo" else min(photo_quality, _OTHER_QUALITY)
        coded = [encode(pack.picture(name, int(row)), quality) for row in keep]
        out[f"{name}_bytes"] = np.frombuffer(b"".join(coded), dtype=np.uint8)
        out[f"{name}_offsets"] = np.cumsum([0, *map(len, coded)]).astype(np.int64)
    return out


def choose_quality(pack: Pack, rows: Sequence[int], max_bytes: float) -> int:
    """Best quality of `PHOTO_QUALITIES` that is expected to keep the pack small enough, judged on 24 people.

    Raises:
        InputError: If even the lowest does not.
    """
    sample = [int(r) for r in np.linspace(0, len(rows) - 1, min(24, len(rows))).astype(int)]
    everybody = packed_size({k: v for k, v in repack(pack, rows[:1], 20).items() if not k.startswith("id_")})
    for quality in PHOTO_QUALITIES:
        part = repack(pack, [int(rows[r]) for r in sample], quality)
        people = packed_size({k: v for k, v in part.items() if k.startswith("id_") or k.endswith("_bytes")})
        if 1.02 * (everybody + people * len(rows) / len(sample)) < max_bytes:
            return quality
    raise InputError(
        f"Expected a limit that {len(rows)} people fit into, got {max_bytes / 1e6:.1f} MB, too little even at quality "
        f"{PHOTO_QUALITIES[-1]}. Raise --max-mb or leave people out with --without."
    )


def packed_size(arrays: Mapping[str, npt.NDArray[Any]]) -> int:
    """Bytes that arrays take in a compressed pack."""
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.tell()


def save(arrays: Mapping[str, npt.NDArray[Any]], path: Path, max_bytes: float) -> int:
    """Write a pack under a temporary name and rename it.

    Returns:
        Its size [bytes].

    Raises:
        InputError: If it came out larger than `max_bytes`; nothing is left behind.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    size = temporary.stat().st_size
    if size > max_bytes:
        temporary.unlink()
        raise InputError(
            f"Expected a pack of at most {max_bytes / 1e6:.1f} MB, got {size / 1e6:.1f}. Give a lower --quality."
        )
    os.replace(temporary, path)
    return size


def psnr_between(first: Pack, second: Pack, numbers: Sequence[int], *, seed: int = 0) -> float:
    """PSNR [dB] between the same random pictures rendered from two packs.

    Args:
        first: A pack.
        second: Another one with the same people.
        numbers: Whom to show, one picture each.
        seed: Decides what they do.

    Returns:
        Peak signal-to-noise ratio over all pictures.
    """
    images = []
    for pack in (first, second):
        renderer = Renderer.from_pack(pack, numbers=numbers)
        g = torch.Generator(renderer.device).manual_seed(seed)
        who = torch.arange(len(numbers))
        gesture = renderer.photographed(who)
        expr = (gesture.expr + renderer.statistics.expression(len(who), g)).clamp(0, 1)
        motion = renderer.motion_of(who, type(gesture)(expr=expr, head=gesture.head, shift=gesture.shift,
                                                       gaze=gesture.gaze))  # fmt: skip
        images.append(renderer.render(who, motion).image.clamp(0, 1))
    return float(-10 * torch.log10((images[0] - images[1]).square().mean().clamp(min=1e-12)))


def main(argv: Sequence[str] | None = None) -> int:
    """Build a small pack and print its size and what it costs in quality."""
    parser = argparse.ArgumentParser(prog="build_pack", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="the full data pack")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--max-mb", type=float, default=30.0, help="limit in MB of 10^6 bytes (default 30)")
    parser.add_argument("--quality", type=int, default=None, help="photo quality 0 to 100; by default what fits")
    parser.add_argument("--without", type=int, nargs="*", default=[], help="identity numbers to leave out")
    parser.add_argument("--check", type=int, default=12, help="people rendered for the quality check; 0 for none")
    arguments = parser.parse_args(argv)
    pack = read_pack(arguments.source)
    rows = [row for row, number in enumerate(pack.numbers) if int(number) not in set(arguments.without)]
    limit = arguments.max_mb * 1e6
    quality = arguments.quality or choose_quality(pack, rows, limit)
    size = save(repack(pack, rows, quality), arguments.out, limit)
    sys.stdout.write(f"{arguments.out}: {len(rows)} people, {size / 1e6:.2f} MB, photo quality {quality}\n")
    if arguments.check:
        chosen = [int(pack.numbers[r]) for r in rows[:: max(1, len(rows) // arguments.check)]][: arguments.check]
        decibel = psnr_between(pack, read_pack(arguments.out), chosen)
        sys.stdout.write(f"renders of {len(chosen)} people from both packs: PSNR {decibel:.2f} dB\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
