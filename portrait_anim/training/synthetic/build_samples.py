"""Build the sample assets.

`python -m portrait_anim.training.synthetic.build_samples --pack PATH --photos FOLDER --out demo/samples`
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

import torch

from portrait_anim.media.image import write_image
from portrait_anim.media.writer import VideoWriter
from portrait_anim.training.synthetic import performances as stage
from portrait_anim.training.synthetic.actors import ActorRecipe, make_actor
from portrait_anim.training.synthetic.clips import render_clip, render_still
from portrait_anim.training.synthetic.curves import Performance, perform
from portrait_anim.training.synthetic.pack import Pack, read_pack
from portrait_anim.training.synthetic.people import load_cast
from portrait_anim.training.synthetic.renderer import Renderer
from portrait_anim.training.synthetic.voice import speak
from portrait_anim.types import AudioTrack, PathLike

logger = logging.getLogger(__name__)

ASSETS: Final = ("portrait", "portrait_b", "driving", "driving_b", "challenge")
PORTRAIT_PX: Final = 512
DRIVING_PX: Final = 320
CHALLENGE_PX: Final = 320
SUPERSAMPLE: Final = 2
EDGE_FADE: Final = (0.0, -40.0)  # what the photograph cuts off ends softly at its sides and below its upper edge
DRIVING_FPS: Final = Fraction(25)
CHALLENGE_FPS: Final = Fraction(15)
VOICE_PITCH_HZ: Final = 118.0
_CRF: Final = 20


class SampleBuilder:
    """Builds sample assets into a folder.

    Args:
        pack: The data pack of synthetic people.
        out: Folder to write into; made when absent.
        photos: Folder with sharper photographs of the pack's people, or `None`.
    """

    def __init__(self, pack: Pack, out: PathLike, *, photos: PathLike | None = None) -> None:
        self._pack = pack
        self._out = Path(out)
        self._photos = photos

    def build(self, asset: str) -> list[Path]:
        """Build one asset.

        Args:
            asset: A name of `ASSETS`.

        Returns:
            The files written.

        Raises:
            ValueError: If there is no such asset.
            InputError: If the pack lacks the people needed.
            MediaError: If a file cannot be written.
        """
        self._out.mkdir(parents=True, exist_ok=True)
        if asset == "portrait":
            return [self._still("portrait.jpg", stage.ACTOR_A, stage.PORTRAIT)]
        if asset == "portrait_b":
            return [self._still("portrait_b.jpg", stage.ACTOR_B, stage.PORTRAIT_B)]
        if asset == "driving":
            voice = speak(stage.LINE, duration_s=stage.DRIVING.duration_s, pitch_hz=VOICE_PITCH_HZ, seed=5)
            return [self._clip("driving.mp4", stage.ACTOR_C, stage.DRIVING, DRIVING_FPS, DRIVING_PX, voice)]
        if asset == "driving_b":
            return [self._clip("driving_b.mp4", stage.ACTOR_D, stage.DRIVING_B, DRIVING_FPS, DRIVING_PX)]
        if asset == "challenge":
            return self._challenge()
        raise ValueError(f"expected one of {ASSETS}, got {asset!r}")

    def _renderer(self, recipe: ActorRecipe, size_px: int) -> Renderer:
        cast = load_cast(self._pack, numbers=recipe.numbers, photos=self._photos)
        return Renderer(
            make_actor(cast, recipe),
            size_px=size_px,
            supersample=SUPERSAMPLE,
            window=stage.WINDOW,
            mirror=EDGE_FADE,
        )

    def _still(self, name: str, recipe: ActorRecipe, performance: Performance) -> Path:
        renderer = self._renderer(recipe, PORTRAIT_PX)
        first = torch.zeros(1, dtype=torch.long)
        gesture = perform(renderer.statistics, performance, float(DRIVING_FPS)).rows(first)
        path = self._out / name
        write_image(path, render_still(renderer, 0, gesture))
        logger.info("wrote %s", path)
        return path

    def _clip(
        self,
        name: str,
        recipe: ActorRecipe,
        performance: Performance,
        fps: Fraction,
        size_px: int,
        audio: AudioTrack | None = None,
    ) -> Path:
        renderer = self._renderer(recipe, size_px)
        curves = perform(renderer.statistics, performance, float(fps))
        path = self._out / name
        with VideoWriter(path, fps=fps, size=(size_px, size_px), audio=audio, crf=_CRF) as video:
            for number, frame in enumerate(render_clip(renderer, 0, curves), start=1):
                video.write(frame)
                if number % 25 == 0:
                    logger.info("%s: %d of %d frames", name, number, len(curves))
        logger.info("wrote %s", path)
        return path

    def _challenge(self) -> list[Path]:
        performance = stage.challenge_performance()
        clip = self._clip("challenge.mp4", stage.ACTOR_A, performance, CHALLENGE_FPS, CHALLENGE_PX)
        actions = [{"action": action, "start_s": start, "end_s": end} for action, start, end in stage.CHALLENGE_ACTIONS]
        notes = {
            "portrait": "portrait.jpg",
            "video": clip.name,
            "fps": float(CHALLENGE_FPS),
            "duration_s": performance.duration_s,
            "actions": actions,
        }
        path = self._out / "challenge.json"
        path.write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
        logger.info("wrote %s", path)
        return [clip, path]


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the sample assets from the command line.

    Args:
        arguments: Command line without the program's name; that of the process when `None`.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(prog="build_samples", description="Render the sample assets of the project.")
    parser.add_argument("--pack", required=True, help="data pack of synthetic people (omi_pack.npz)")
    parser.add_argument("--out", required=True, help="folder to write into, for example demo/samples")
    parser.add_argument("--photos", default=None, help="folder with sharper photographs of the same people (0021.jpg)")
    parser.add_argument(
        "--only", nargs="+", choices=ASSETS, default=list(ASSETS), help="assets to build; all by default"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    builder = SampleBuilder(read_pack(options.pack), options.out, photos=options.photos)
    for asset in options.only:
        builder.build(asset)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
