"""Photos and screens held before the camera."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from portrait_anim.media.image import read_image

from . import videos
from .handing_in import PORTRAIT

pytestmark = pytest.mark.slow


def test_a_still_photo_is_refused(attack: Callable[..., list[str]], tmp_path: Path) -> None:
    photo = read_image(PORTRAIT)
    count = 120
    still = videos.waved(photo, [0.0] * count, [0.0] * count)
    phase = np.arange(count) / 15.0
    turns = 28.0 * np.clip(1.4 * np.sin(np.pi * (phase - 1.5) / 2.0), 0, 1) * ((phase > 1.5) & (phase < 3.5))
    nods = -16.0 * np.clip(1.4 * np.sin(np.pi * (phase - 6) / 2.0), 0, 1) * ((phase > 6) & (phase < 8))
    photos = {"held still": still, "waved": videos.waved(photo, turns, nods)}
    for name, shown in photos.items():
        failed = attack(f"still photo, {name}", videos.film(tmp_path / "photo.mp4", shown))
        assert {"alive", "solid"} & set(failed)


@pytest.mark.parametrize(("pitch", "focus", "crf"), [(2.7, 0.35, 23), (4.1, 0.3, 18)])
def test_a_sharply_filmed_screen_is_refused(
    pitch: float, focus: float, crf: int, attack: Callable[..., list[str]], frames: list[np.ndarray], tmp_path: Path
) -> None:
    shown = videos.shown_on_screen(frames, pitch=pitch, focus=focus)
    assert "screen" in attack("filmed screen", videos.film(tmp_path / "screen.mp4", shown, crf=crf))
