"""What may happen to a picture or clip between its making and its reading, as a table of pure functions.

Every attack takes frames and a random generator and gives new frames; none changes its input. Encoders are real:
libx264, libx265, libvpx, libjpeg, libwebp. (Not SVT-AV1, which gives itself real-time priority where it may.)
The table serves any mark, not only ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, TypeAlias

import numpy as np

from portrait_anim.evaluation import attack_codecs as codecs
from portrait_anim.evaluation import attack_edits as edits
from portrait_anim.evaluation import attack_geometry as geometry
from portrait_anim.evaluation import attack_pixels as pixels
from portrait_anim.types import UInt8Array

Frames: TypeAlias = Sequence[UInt8Array]
Apply: TypeAlias = Callable[[Frames, np.random.Generator], list[UInt8Array]]
Kind = Literal["none", "tone", "pixels", "cover", "time", "geometry", "edit", "encoding"]
_ORDER: Final[tuple[Kind, ...]] = ("none", "tone", "pixels", "cover", "time", "geometry", "edit", "encoding")


@dataclass(frozen=True, kw_only=True, slots=True)
class Attack:
    """One row of the table.

    Attributes:
        name: Short name, unique.
        kind: What is attacked; in a pair, kinds are applied in the order of a usual edit, encoding last.
        apply: `(frames, rng) -> frames`.
        single: Whether a single frame must be enough to read the mark.
        paired: Whether the attack takes part in pairs.
        parameters: What it does, in words.
    """

    name: str
    kind: Kind
    apply: Apply
    single: bool = False
    paired: bool = False
    parameters: str = ""

    def __call__(self, frames: Frames, rng: np.random.Generator) -> list[UInt8Array]:
        """Apply the attack.

        Args:
            frames: `(H, W, 3)` uint8 sRGB each, all of one size, at least one.
            rng: Source of places and noise.

        Returns:
            New frames; their number and size may differ.

        Raises:
            ValueError: If there are no frames.
        """
        if not frames:
            raise ValueError(f"Expected at least one frame for the attack {self.name}, got none.")
        return self.apply(frames, rng)


def pairs(attacks: Sequence[Attack]) -> list[tuple[Attack, Attack]]:
    """All pairs of those attacks that take part in pairs.

    Args:
        attacks: Rows of the table.

    Returns:
        Each pair once, in the order in which both are applied; pairs with the same first attack are neighbours.
    """
    chosen = [attack for attack in attacks if attack.paired]
    chosen.sort(key=lambda attack: _ORDER.index(attack.kind))
    return list(itertools.combinations(chosen, 2))


def _each(function: Callable[[UInt8Array], UInt8Array]) -> Apply:
    """An attack that treats all frames alike."""

    def apply(frames: Frames, rng: np.random.Generator) -> list[UInt8Array]:
        return [function(frame) for frame in frames]

    return apply


def _tone() -> list[Attack]:
    def row(
        name: str, function: Callable[[UInt8Array], UInt8Array], parameters: str, *, paired: bool = False
    ) -> Attack:
        return Attack(name=name, kind="tone", apply=_each(function), single=True, paired=paired, parameters=parameters)

    return [
        row("brighter", partial(pixels.adjust, offset=30), "+30 grey levels"),
        row("darker", partial(pixels.adjust, offset=-30), "-30 grey levels", paired=True),
        row("contrast 60 %", partial(pixels.adjust, gain=0.6), "about mid grey", paired=True),
        row("contrast 150 %", partial(pixels.adjust, gain=1.5), "about mid grey"),
        row("gamma 0.6", partial(pixels.gamma, exponent=0.6), ""),
        row("gamma 1.6", partial(pixels.gamma, exponent=1.6), "", paired=True),
        row("saturation 20 %", partial(pixels.saturation, factor=0.2), ""),
        row("saturation 200 %", partial(pixels.saturation, factor=2.0), ""),
        row("grey", partial(pixels.saturation, factor=0.0), "", paired=True),
        row("hue 40 deg", partial(pixels.hue, turn_deg=40), ""),
        row("negative", pixels.negative, ""),
    ]


def _pixels() -> list[Attack]:
    return [
        Attack(name="blur 1.0", kind="pixels", apply=_each(partial(pixels.blur, sigma_px=1.0)), paired=True,
               parameters="Gaussian, sigma 1 px"),
        Attack(name="blur 2.0", kind="pixels", apply=_each(partial(pixels.blur, sigma_px=2.0)),
               parameters="Gaussian, sigma 2 px"),
        Attack(name="noise 5", kind="pixels", apply=partial(pixels.noise, sigma=5.0), paired=True,
               parameters="Gaussian, 5 grey levels, new in each frame"),
        Attack(name="noise 12", kind="pixels", apply=partial(pixels.noise, sigma=12.0),
               parameters="Gaussian, 12 grey levels, new in each frame"),
        Attack(name="sharpen", kind="pixels", apply=_each(pixels.sharpen), paired=True,
               parameters="unsharp mask, 150 % at 1.5 px"),
        Attack(name="median 5", kind="pixels", apply=_each(partial(pixels.median, size_px=5)), parameters="5 x 5 px"),
        Attack(name="denoise", kind="pixels", apply=_each(pixels.denoise), parameters="bilateral, 7 px, 20 levels"),
        Attack(name="posterise", kind="pixels", apply=_each(pixels.posterise), parameters="32 levels per channel"),
        Attack(name="sticker 30 %", kind="cover", apply=pixels.sticker, paired=True,
               parameters="a flat ellipse over 30 % of the area, at any place"),
        Attack(name="caption", kind="cover", apply=_each(pixels.caption), parameters="two lines of white text"),
    ]  # fmt: skip


def _time() -> list[Attack]:
    return [
        Attack(name="frame rate 15", kind="time", apply=partial(pixels.change_rate, factor=0.6), paired=True,
               parameters="from 25 to 15 1/s, frames dropped"),
        Attack(name="frame rate 60", kind="time", apply=partial(pixels.blend_rate, factor=2.4),
               parameters="from 25 to 60 1/s, frames blended"),
        Attack(name="trim 1 s", kind="time", apply=pixels.trim, paired=True, parameters="any second"),
        Attack(name="reversed", kind="time", apply=pixels.reverse, paired=True),
    ]  # fmt: skip


def _geometry() -> list[Attack]:
    def row(name: str, apply: Apply, parameters: str = "", *, single: bool = False, paired: bool = False) -> Attack:
        return Attack(name=name, kind="geometry", apply=apply, single=single, paired=paired, parameters=parameters)

    return [
        row("crop 60 %", partial(geometry.crop, area=0.6), "any place, same aspect", single=True, paired=True),
        row("crop 40 %", partial(geometry.crop, area=0.4), "any place, same aspect", paired=True),
        row("crop 25 %", partial(geometry.crop, area=0.25), "any place, same aspect", paired=True),
        row("crop 40 % wide", partial(geometry.crop, area=0.4, aspect=2.0), "twice as wide as before"),
        *(
            row(f"scale {percent} %", _each(partial(geometry.scale, factor=percent / 100)), single=True,
                paired=percent in (50, 70, 200))
            for percent in (50, 70, 90, 130, 200)
        ),
        row("stretch 120 %", _each(partial(geometry.scale, factor=1.2, other=1.0)), "in width only"),
        row("rotate 2 deg", _each(partial(geometry.rotate, angle_deg=2.0)), "corners black"),
        row("rotate -5 deg, filled", _each(partial(geometry.rotate, angle_deg=-5.0, fill=True)), "zoomed to fill"),
        row("rotate 10 deg", _each(partial(geometry.rotate, angle_deg=10.0)), "corners black", paired=True),
        row("rotate 90 deg", _each(geometry.quarter_turn)),
        row("flip", _each(geometry.mirror), paired=True),
        row("letterbox", _each(partial(geometry.letterbox, aspect=16 / 9)), "to 16:9", paired=True),
        row("picture in picture", geometry.picture_in_picture, "at 60 % of the height of 16:9, any place", paired=True),
        row("perspective", geometry.perspective, "corners moved by up to 5 % of the side", paired=True),
        row("zoom over time", geometry.slow_zoom, "from 100 to 115 %"),
        row("shake", geometry.shake, "up to 4 px and 0.5 deg, new in each frame"),
        row("screen recording", geometry.screen_recording, "perspective, pixel grid, moire, glow, noise", paired=True),
    ]  # fmt: skip


def _edits() -> list[Attack]:
    def row(name: str, apply: Apply, parameters: str) -> Attack:
        return Attack(name=name, kind="edit", apply=apply, parameters=parameters)

    return [
        row("squeezed", _each(partial(geometry.scale, factor=0.75, other=1.0)), "to 75 % of the width"),
        row("odd size", _each(partial(geometry.scale, factor=0.777, other=0.841)), "to 77.7 x 84.1 %"),
        row("blurred bars", _each(edits.blurred_bars), "9:16, over a blurred copy of itself"),
        row("ticker", edits.ticker, "running text over 12 % of the height"),
        row("collage", edits.collage, "beside something else of the same size"),
        row("vignette", _each(edits.vignette), "warmer, corners darker by half"),
        row("pan and zoom", edits.pan_zoom, "from all to 77 % of the side, towards a corner"),
        row("bend", edits.bend, "smooth displacement, 1.5 px"),
        row("frames averaged", edits.average, "three at a time"),
        row("non-local means", _each(edits.non_local_means), "h = 5"),
    ]


def _twice(first: Apply, second: Apply) -> Apply:
    def apply(frames: Frames, rng: np.random.Generator) -> list[UInt8Array]:
        return second(first(frames, rng), rng)

    return apply


def _encodings() -> list[Attack]:
    def row(name: str, apply: Apply, parameters: str, *, single: bool = False, paired: bool = False) -> Attack:
        return Attack(name=name, kind="encoding", apply=apply, single=single, paired=paired, parameters=parameters)

    def video(codec: str, **options: str) -> Apply:
        return partial(codecs.video, codec=codec, options=options)

    def social(codec: str, **options: str) -> Apply:
        return partial(codecs.video, codec=codec, options=options, bits_per_pixel=codecs.SOCIAL_BITS_PER_PIXEL)

    return [
        row("H.264 CRF 23", video("libx264", crf="23"), "libx264, medium", single=True, paired=True),
        row("H.264 CRF 28", video("libx264", crf="28"), "libx264, medium", paired=True),
        row("H.264 CRF 32", video("libx264", crf="32"), "libx264, medium", paired=True),
        row("H.264 social", social("libx264"), "0.06 bit per pixel"),
        row("H.265 social", social("libx265"), "0.06 bit per pixel", paired=True),
        row(
            "VP9 social", social("libvpx-vp9", deadline="good", **{"cpu-used": "4"}), "0.06 bit per pixel", paired=True
        ),
        row("MPEG-4 social", social("mpeg4"), "0.06 bit per pixel"),
        row("JPEG 50", _each(partial(codecs.still, kind="JPEG", quality=50)), "each frame", single=True, paired=True),
        row("JPEG 30", _each(partial(codecs.still, kind="JPEG", quality=30)), "each frame"),
        row("WebP 50", _each(partial(codecs.still, kind="WEBP", quality=50)), "each frame"),
        row("JPEG twice", _each(codecs.still_twice), "70, cut by 3 px, 50"),
        row("GIF", _each(partial(codecs.palette, colours=64)), "64 colours, dithered"),
        row("16 colours", _each(partial(codecs.palette, colours=16)), "dithered"),
        row("H.264 twice", _twice(video("libx264", crf="26"), video("libx264", crf="28")), "CRF 26, then CRF 28"),
    ]


def _unchanged(frames: Frames, rng: np.random.Generator) -> list[UInt8Array]:
    return list(frames)


def table() -> list[Attack]:
    """Give all attacks, the untouched frames first."""
    nothing = Attack(name="none", kind="none", apply=_unchanged, single=True, parameters="as marked")
    return [nothing, *_encodings(), *_geometry(), *_edits(), *_tone(), *_pixels(), *_time()]
