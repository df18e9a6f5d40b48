from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from portrait_anim.provenance.claims import ManifestClaims
from portrait_anim.provenance.manifest import sign_file


def write_clip(path: Path, *, size: int = 64, num_frames: int = 6) -> None:
    """A tiny H.264 clip."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        for index in range(num_frames):
            image = np.full((size, size, 3), 20 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def write_unsigned(path: Path) -> Path:
    """A small file of the kind that its ending names."""
    if path.suffix == ".mp4":
        write_clip(path)
    else:
        ramp = np.arange(48 * 48 * 3, dtype=np.uint32).reshape(48, 48, 3) % 251
        Image.fromarray(ramp.astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def claims() -> ManifestClaims:
    return ManifestClaims(
        cameo_id="cameo-01",
        cameo_kind="fictional",
        grant_id="grant-02",
        permit_id="permit-03",
        ledger_row="ab" * 32,
        profile="lite",
        seed=7,
        created=datetime(2026, 11, 22, 12, tzinfo=timezone.utc),
        software_version="0.1.0",
        portrait_sha256="cd" * 32,
        driver_sha256="ef" * 32,
    )


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def signed(tmp_path_factory: pytest.TempPathFactory, home: Path, claims: ManifestClaims) -> Callable[[str], Path]:
    """Give a signed file by its ending; made once, so copy it before changing it."""
    folder = tmp_path_factory.mktemp("signed")

    def make(ending: str) -> Path:
        path = folder / f"render.{ending}"
        if not path.exists():
            sign_file(write_unsigned(folder / f"plain.{ending}"), path, claims=claims, home=home)
        return path

    return make
