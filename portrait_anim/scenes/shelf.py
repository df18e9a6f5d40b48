"""The shelf of finished shots: each is kept under the name of its content, so an interrupted scene goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Literal

from portrait_anim.consent.store import ConsentStore
from portrait_anim.errors import MediaError
from portrait_anim.media.writer import atomic_path
from portrait_anim.scenes.permission import was_rendered, why_withdrawn
from portrait_anim.weights import file_sha256


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedShot:
    """One rendered shot.

    Attributes:
        shot_id: Name of the shot in the script.
        key: Name on the shelf.
        cameo_id: Whose likeness.
        cameo_kind: `"real"` or `"fictional"`.
        grant_id: Under which permission.
        permit_id: By which authorisation.
        sha256: Checksum of the file, hexadecimal.
        num_frames: Number of pictures.
        fps: Its frame rate, as a fraction [1/s].
        reused: Whether it was finished before.
    """

    shot_id: str
    key: str
    cameo_id: str
    cameo_kind: Literal["real", "fictional"]
    grant_id: str
    permit_id: str
    sha256: str
    num_frames: int
    fps: str
    reused: bool = False

    def length_in(self, fps: Fraction) -> int:
        """Return how many frames the shot fills in a film of another rate, at least one."""
        return max(1, round(self.num_frames / Fraction(self.fps) * fps))


class ShotShelf:
    """A folder of finished shots.

    Args:
        folder: Where they are kept; made when missing.

    Raises:
        MediaError: If the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(
                f"expected a folder for finished shots at {folder}, got: {error.strerror}; choose another with --work"
            ) from error

    def video(self, key: str) -> Path:
        """Return where the file of a shot is or will be."""
        return self.folder / f"{key}.mp4"

    def put(self, shot: FinishedShot) -> None:
        """Note what is known about a file that was just rendered."""
        with atomic_path(self._record(shot.key)) as temporary:
            temporary.write_text(json.dumps(asdict(shot), indent=2) + "\n", encoding="utf-8")

    def find(self, key: str, shot_id: str, store: ConsentStore, now: datetime) -> FinishedShot | None:
        """Return a finished shot that may still be used; one that may not is destroyed.

        Neither the file nor the note beside it is believed: the ledger must know the file, and its grant must stand.

        Args:
            key: Name on the shelf.
            shot_id: Name of the shot in the present script.
            store: The open consent store.
            now: Current time, timezone-aware.
        """
        video = self.video(key)
        if not video.is_file():
            return None
        try:
            noted = json.loads(self._record(key).read_text(encoding="utf-8"))
            shot = FinishedShot(**{**noted, "shot_id": shot_id, "reused": True})
            genuine = shot.key == key and file_sha256(video) == shot.sha256 and Fraction(shot.fps) > 0
            genuine = genuine and was_rendered(store, shot.permit_id, shot.grant_id, shot.sha256)
        except (OSError, ValueError, TypeError, ZeroDivisionError):
            genuine = False
        if not genuine or why_withdrawn(store, shot.cameo_id, shot.grant_id, now):
            self.remove(key)
            return None
        return shot

    def remove(self, key: str) -> None:
        """Destroy a shot and what is noted about it."""
        self.video(key).unlink(missing_ok=True)
        self._record(key).unlink(missing_ok=True)

    def _record(self, key: str) -> Path:
        return self.folder / f"{key}.json"
