"""Counts how often the watermark is read where there is none, and looks at how near the others came.

Run it as `python -m portrait_anim.evaluation.watermark_false_positives --photographs FOLDER --resume FILE`. Half of the
pictures are random crops of photographs, if a folder is given; the others are drawn: noise of all colours, flat areas,
text, stripes, checks and waves, also with the period of the pattern itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from portrait_anim.errors import MediaError
from portrait_anim.evaluation.unmarked_pictures import drawn, photographs
from portrait_anim.evaluation.watermark_log import ResultLog
from portrait_anim.provenance import watermark_code
from portrait_anim.provenance.watermark import read_frames
from portrait_anim.provenance.watermark_reading import Search
from portrait_anim.provenance.watermark_residual import ResidualSum
from portrait_anim.types import Float64Array

BLOCK_FRAMES: Final = 250
_BLOCK_DECODINGS: Final = 25
_TAIL: Final = 0.02  # share of the frames that the extreme values are taken from
_LEVELS: Final = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
_TARGET: Final = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """What became of some unmarked frames.

    Attributes:
        number: Number of the block; with the seed it says which frames they were.
        thorough: How many were read with all that a file gets.
        found: Frames in which a mark was read.
        pilots: Per frame, the bound of chance for its best pilots, as a power of ten; above 0 it says nothing.
        check_bits: Per decoding of random values, how many of the 24 check bits were right.
    """

    number: int
    thorough: int
    found: int
    pilots: list[float]
    check_bits: list[int]


def measure_block(number: int, *, seed: int, thorough_every: int, folders: Sequence[Path] = ()) -> Block:
    """Read one block of frames.

    Args:
        number: Number of the block.
        seed: Draws the frames.
        thorough_every: Every so many frames get a thorough search.
        folders: Folders of unmarked photographs.

    Returns:
        What came out.
    """
    rng = np.random.default_rng([seed, number])
    crops = photographs(folders, rng)
    found = thorough = 0
    pilots = []
    for index in range(BLOCK_FRAMES):
        image = next(crops, None) if index % 2 else None
        image = drawn(rng) if image is None else image
        search = Search()
        if (index + number) % thorough_every == 0:  # not always a drawing
            thorough += 1
            reading = read_frames([image], search=search)
        else:
            total = ResidualSum((image.shape[1], image.shape[0]))
            total.add(image)
            reading = search.read(total, thorough=False)
        found += reading is not None
        pilots.append(round(search.log10_pilots, 3))
    check_bits = []
    for _ in range(_BLOCK_DECODINGS):
        values = rng.standard_normal(watermark_code.CODED_BITS).astype(np.float32)
        render_id, check = watermark_code.decode_with_check(values)
        check_bits.append(watermark_code.CHECK_BITS - (watermark_code.crc24(render_id) ^ check).bit_count())
    return Block(number=number, thorough=thorough, found=found, pilots=pilots, check_bits=check_bits)


def summary(blocks: Sequence[Block]) -> str:
    """Say what the blocks show, in lines of text.

    The extreme values: a generalised Pareto distribution, fitted to the frames whose pilots agree best, says how good
    they are in the best of a million frames; the statistic promises that this is at most -6.
    """
    pilots = np.array([value for block in blocks for value in block.pilots])
    bits = np.array([value for block in blocks for value in block.check_bits])
    lines = [
        f"{sum(block.found for block in blocks)} found in {len(pilots)} unmarked frames, "
        f"{sum(block.thorough for block in blocks)} of them read thoroughly"
    ]
    for level in _LEVELS:
        expected = len(pilots) * 10**-level
        lines.append(f"pilots at 10^-{level}: at most {expected:.0f} frames expected, {(pilots <= -level).sum()} seen")
    best, low, high = _best_of_a_million(-pilots)
    lines.append(f"best pilots of a million frames, extrapolated: 10^{-best:.1f} (10^{-low:.1f} to 10^{-high:.1f})")
    lines.append(
        f"check bits right in {len(bits)} decodings of noise: mean {bits.mean():.2f} of {watermark_code.CHECK_BITS} "
        f"(12 by chance), standard deviation {bits.std():.2f} (2.45 by chance), at most {bits.max()}"
    )
    return "\n".join(lines)


def _best_of_a_million(values: Float64Array) -> tuple[float, float, float]:
    """Extrapolated quantile of large values, with bounds by resampling, 5 to 95 %."""
    from scipy.stats import genpareto

    def quantile(sample: Float64Array) -> float:
        threshold = float(np.quantile(sample, 1 - _TAIL))
        excess = sample[sample > threshold] - threshold
        shape, _, scale = genpareto.fit(excess, floc=0)
        return threshold + float(genpareto.isf(_TARGET / _TAIL, shape, 0, scale))

    rng = np.random.default_rng(0)
    resampled = [quantile(rng.choice(values, len(values))) for _ in range(40)]
    low, high = np.quantile(resampled, (0.05, 0.95))
    return quantile(values), float(low), float(high)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read unmarked pictures and count what is found.

    Args:
        arguments: Command line; `None` takes that of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--photographs", type=Path, nargs="*", default=[], help="folders of unmarked pictures")
    parser.add_argument("--thorough-every", type=int, default=20, help="so often with all that a file gets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", type=Path, help="file of JSON lines to go on with")
    options = parser.parse_args(arguments)
    header = {
        "seed": options.seed, "thorough_every": options.thorough_every,
        "photographs": [str(folder) for folder in options.photographs],
    }  # fmt: skip
    try:
        log = None if options.resume is None else ResultLog(options.resume, Block, header)
    except MediaError as error:
        parser.error(str(error))
    blocks = [] if log is None else list(log.results)
    known = {block.number for block in blocks}
    for number in range(-(-options.frames // BLOCK_FRAMES)):
        if number in known:
            continue
        block = measure_block(
            number, seed=options.seed, thorough_every=options.thorough_every, folders=options.photographs
        )
        blocks.append(block)
        if log is not None:
            log.add(block)
        found = sum(block.found for block in blocks)
        sys.stderr.write(f"{found} found in {len(blocks) * BLOCK_FRAMES} frames\n")
    sys.stdout.write(summary(blocks) + "\n")


if __name__ == "__main__":
    main()
