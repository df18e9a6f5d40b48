"""A face made of numbers, and the stored measurements of the development clips where they are at hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

CLIPS = Path(__file__).resolve().parents[4] / "shared" / "data" / "clips"


@pytest.fixture(scope="session")
def dev_clips() -> Path:
    if not (CLIPS / "dev_landmarks.npz").is_file():
        pytest.skip("needs the development clips beside the repository (shared/data/clips)")
    return CLIPS


@pytest.fixture(scope="session")
def stored(dev_clips: Path) -> dict[str, Any]:
    with np.load(dev_clips / "dev_landmarks.npz", allow_pickle=True) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture
def face() -> np.ndarray:
    """`(478, 2)` landmarks in a 128 px picture: a sunflower pattern, no two points alike."""
    k = np.arange(478)
    radius, angle = 40 * np.sqrt((k + 0.5) / 478), k * 2.399963
    return np.stack([64 + radius * np.cos(angle), 64 + 1.1 * radius * np.sin(angle)], axis=1)
