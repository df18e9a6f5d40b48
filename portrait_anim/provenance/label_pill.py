"""What the visible label looks like: a dark pill with a badge (the letters for AI) and a sentence, in eight languages.

The badge follows the EU's icons for content made with AI: the language's own letters in a rounded square. The icons
themselves are the Commission's artwork and are not used.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from portrait_anim.types import UInt8Array

LabelSize: TypeAlias = Literal["small", "medium", "large"]
Language: TypeAlias = Literal["de", "en", "es", "fr", "it", "nl", "pl", "pt"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """What the label says in one language.

    Attributes:
        letters: The badge, the language's abbreviation of artificial intelligence.
        text: The sentence beside it.
    """

    letters: str
    text: str


WORDINGS: Final[dict[Language, Wording]] = {
    "de": Wording(letters="KI", text="KI-generiert"),
    "en": Wording(letters="AI", text="AI-generated"),
    "es": Wording(letters="IA", text="Generado con IA"),
    "fr": Wording(letters="IA", text="Généré par l'IA"),
    "it": Wording(letters="IA", text="Generato con l'IA"),
    "nl": Wording(letters="AI", text="Gemaakt met AI"),
    "pl": Wording(letters="AI", text="Wygenerowane przez AI"),
    "pt": Wording(letters="IA", text="Gerado por IA"),
}
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
SIZES: Final[tuple[LabelSize, ...]] = get_args(LabelSize)

_TEXT_SHARES: Final[dict[LabelSize, float]] = {"small": 0.036, "medium": 0.050, "large": 0.068}  # of the shorter side
_SMALLEST_TEXT_PX: Final = 9.5
_LEGIBLE_TEXT_PX: Final = 8.0  # below it the sentence gives way to the badge alone
_WIDEST_SHARE: Final = 0.62  # of the frame's width
_TALLEST_SHARE: Final = 1 / 3
_SUPERSAMPLING: Final = 4
_PILL_ALPHA: Final = 0.72
_RIM_ALPHA: Final = 0.80
_INK: Final = (16, 18, 24)


def draw_pill(frame_size: tuple[int, int], wording: Wording, label_size: LabelSize) -> UInt8Array:
    """Draw the label for frames of one size.

    Args:
        frame_size: Width and height of the frames [px].
        wording: What it says.
        label_size: How large.

    Returns:
        `(h, w, 4)` uint8 RGBA, straight alpha, no larger than the frame. Where the sentence would be too small to
        read, the badge stands alone and is larger instead.
    """
    width, height = frame_size
    text_px = max(_SMALLEST_TEXT_PX, _TEXT_SHARES[label_size] * min(width, height))
    limits = (max(1.0, _WIDEST_SHARE * width), max(1.0, _TALLEST_SHARE * height))
    canvas = _canvas(text_px, wording.letters, wording.text)
    scale = min(1 / _SUPERSAMPLING, limits[0] / canvas.width, limits[1] / canvas.height)
    if scale * _SUPERSAMPLING * text_px < _LEGIBLE_TEXT_PX:
        canvas = _canvas(1.25 * text_px, wording.letters, "")
        scale = min(1 / _SUPERSAMPLING, limits[0] / canvas.width, limits[1] / canvas.height)
    target = (max(1, round(canvas.width * scale)), max(1, round(canvas.height * scale)))
    # Reduced with premultiplied colour, or the rim would get a dark fringe.
    return np.asarray(canvas.convert("RGBa").resize(target, Image.Resampling.BOX).convert("RGBA"))


def larger(first: LabelSize, second: LabelSize) -> LabelSize:
    """The larger of two sizes."""
    return max(first, second, key=SIZES.index)


@functools.lru_cache(maxsize=32)
def _font(name: str, size_px: float) -> ImageFont.FreeTypeFont:
    """A font that has the letters of all languages: matplotlib's copy of DejaVu (Pillow's own has only ASCII)."""
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None, "matplotlib is a dependency"
    assert spec.origin is not None
    return ImageFont.truetype(str(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name), size_px)


def _canvas(text_px: float, letters: str, text: str) -> Image.Image:
    """The label at `_SUPERSAMPLING` times its size."""
    unit = text_px * _SUPERSAMPLING
    sentence, badge = _font("DejaVuSans.ttf", unit), _font("DejaVuSans-Bold.ttf", 0.86 * unit)
    badge_box = badge.getbbox(letters)
    badge_width = badge_box[2] - badge_box[0] + 0.62 * unit
    text_box = sentence.getbbox(text) if text else (0, 0, 0, 0)
    cap = sentence.getbbox("Al")  # the same line for every language, with or without accents and descenders
    pad = 0.30 * unit
    height = 1.36 * unit + 2 * pad
    width = pad + badge_width + (0.42 * unit + text_box[2] - text_box[0] + 0.55 * unit if text else pad)
    canvas = Image.new("RGBA", (math.ceil(width), math.ceil(height)), (0, 0, 0, 0))
    draw = ImageDraw.Draw(canvas)
    draw.rounded_rectangle(
        (0, 0, canvas.width - 1, canvas.height - 1), radius=0.52 * unit, fill=(*_INK, round(255 * _PILL_ALPHA)),
        outline=(255, 255, 255, round(255 * _RIM_ALPHA)), width=max(1, round(0.07 * unit)),
    )  # fmt: skip
    square = (pad, pad, pad + badge_width, height - pad)
    draw.rounded_rectangle(square, radius=0.32 * unit, fill=(255, 255, 255, 255))
    corner = ((square[0] + square[2] - badge_box[0] - badge_box[2]) / 2, (height - badge_box[1] - badge_box[3]) / 2)
    draw.text(corner, letters, font=badge, fill=(*_INK, 255))
    if text:
        baseline = height / 2 - (cap[1] + cap[3]) / 2
        draw.text((square[2] + 0.42 * unit - text_box[0], baseline), text, font=sentence, fill=(255, 255, 255, 255))
    return canvas
