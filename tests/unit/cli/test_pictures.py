"""Pictures in the terminal: two pixels per character, only where there is a terminal."""

import io

import numpy as np
from rich.console import Console

from portrait_anim.cli import console
from portrait_anim.cli.console import picture_text, progress_bars
from portrait_anim.types import Progress


def test_upper_and_lower_pixels_become_the_two_colours_of_a_character():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32] = (255, 0, 0)
    image[32:] = (0, 0, 255)
    text = picture_text(image, columns=4)
    lines = text.plain.splitlines()
    assert lines == ["\u2580" * 4] * 2
    colours = [(tuple(span.style.color.triplet), tuple(span.style.bgcolor.triplet)) for span in text.spans]
    assert colours == [((255, 0, 0),) * 2] * 4 + [((0, 0, 255),) * 2] * 4


def shown(monkeypatch, *, terminal, **settings):
    out = io.StringIO()
    monkeypatch.setattr(console, "Console", lambda **_: Console(file=out, force_terminal=terminal, width=80))
    with progress_bars(**settings) as on_progress:
        on_progress(Progress(stage="denoise", done=1, total=2, preview=np.zeros((8, 8, 3), np.uint8)))
    return out.getvalue()


def test_pictures_are_drawn_when_asked_for_and_never_into_a_file(monkeypatch):
    assert "\u2580" in shown(monkeypatch, terminal=True, show_pictures=True)
    assert "\u2580" not in shown(monkeypatch, terminal=True)
    assert "\u2580" not in shown(monkeypatch, terminal=False, show_pictures=True)
