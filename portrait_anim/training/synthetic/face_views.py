"""Many views of each synthetic person, to measure how well faces are told apart.

`python -m portrait_anim.training.synthetic.face_views --pack PATH --out FOLDER` writes `FOLDER/PERSON/CONDITION_N.jpg`,
which `portrait_anim.evaluation.face_match` measures. Conditions:

==========  ===========================================================================================================
portrait    the untouched photograph
video       frames of one recording: one light, one camera, small movements of head and face
pose        head turned or nodded by 12 to 25 degrees
expression  joy, surprise, anger
light       lamps from other sides, another exposure
age         stands for an older or younger photo: fuller or thinner head, other skin and hair tone, light and camera,
            half of them with glasses; it is no model of how people age
==========  ===========================================================================================================
"""

from __future__ import annotations

import argparse
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image

from portrait_anim.training.synthetic.glasses import draw_glasses
from portrait_anim.training.synthetic.motion import Gesture
from portrait_anim.training.synthetic.motion_tables import EMOTIONS
from portrait_anim.training.synthetic.pack import Pack, read_pack
from portrait_anim.training.synthetic.renderer import Renderer
from portrait_anim.training.synthetic.variation import Variation, draw_variation, untouched
from portrait_anim.types import UInt8Array

logger = logging.getLogger(__name__)

SIZE_PX: Final = 256
CONDITIONS: Final[dict[str, int]] = {"portrait": 1, "video": 5, "pose": 4, "expression": 3, "light": 2, "age": 2}
_TURNS_DEG: Final = ((15.0, 0.0, 0.0), (-15.0, 0.0, 0.0), (25.0, 4.0, 3.0), (-8.0, -12.0, -5.0))  # yaw, pitch, roll
_EMOTIONS: Final = ("joy", "surprise", "anger")
_AGE_SHAPE: Final = 0.30  # share of the change of shape that makes another person
_CHUNK: Final = 16


def render_views(pack: Pack, numbers: Sequence[int], *, seed: int = 0) -> Iterator[tuple[int, str, UInt8Array]]:
    """Render every condition of some people.

    Args:
        pack: The data pack of synthetic people.
        numbers: Whom, by identity number.
        seed: Seed of everything that is drawn.

    Yields:
        Identity number, name such as `"age_1"`, and picture `(256, 256, 3)` uint8 sRGB.

    Raises:
        InputError: If the pack lacks one of the numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, len(numbers), _CHUNK):
        chosen = list(numbers[start : start + _CHUNK])
        renderer = Renderer.from_pack(pack, size_px=SIZE_PX, numbers=chosen)
        for row, number in enumerate(chosen):
            who = torch.tensor([row])
            yield number, "portrait_0", _picture(renderer.photos(who)[0], 92)
            for condition, count in CONDITIONS.items():
                if condition != "portrait":
                    yield from _condition(renderer, who, number, condition, count, generator)


def _condition(
    renderer: Renderer, who: torch.Tensor, number: int, condition: str, count: int, generator: torch.Generator
) -> Iterator[tuple[int, str, UInt8Array]]:
    rows = who.expand(count)
    variation, gestures = _plan(renderer, rows, condition, generator)
    varied = renderer.varied(rows, variation)
    everyone = torch.arange(count)
    image = varied.render(everyone, varied.motion_of(everyone, gestures)).image
    quality = {"video": 60, "age": 80}.get(condition, 92)
    for place, picture in enumerate(image):
        yield number, f"{condition}_{place}", _picture(picture, quality)


def _plan(
    renderer: Renderer, rows: torch.Tensor, condition: str, generator: torch.Generator
) -> tuple[Variation, Gesture]:
    """How the people `rows` look and what they do in one condition."""
    count, people = len(rows), renderer.cast.people
    plain, drawn = untouched(people, rows), draw_variation(people, rows, generator, strength=1.0)
    gesture = renderer.photographed(rows)
    head = gesture.head + torch.randn(count, 3, generator=generator) * 2.0
    expr = gesture.expr
    if condition == "pose":
        head = gesture.head * 0.3 + torch.tensor(_TURNS_DEG[:count])
    elif condition == "expression":
        table = renderer.statistics.table({name: EMOTIONS[name] for name in _EMOTIONS[:count]})
        expr = (0.9 * table).clamp(0, 1)
    elif condition == "light":
        plain = replace(plain, lamp=drawn.lamp, skin=0.5 * drawn.drift.mean(2))
    elif condition == "video":
        # One recording: the first draw holds for all its frames.
        plain = replace(plain, lamp=drawn.lamp[:1].expand(count, -1))
        emotion = renderer.statistics.emotions[torch.randint(len(EMOTIONS), (count,), generator=generator)]
        expr = (expr + 0.25 * emotion * torch.rand(count, 1, generator=generator)).clamp(0, 1)
        head = gesture.head * 0.5 + torch.randn(count, 3, generator=generator) * torch.tensor([5.0, 4.0, 3.0])
    elif condition == "age":
        glasses = draw_glasses(count, generator, people.light.device, share=0.5)
        glasses[:, 0] *= ~people.spectacled[rows]
        plain = replace(drawn, reshape=_AGE_SHAPE * drawn.reshape, skin=0.6 * drawn.skin, glasses=glasses)
    return plain, replace(gesture, head=head, expr=expr)


def _picture(image: torch.Tensor, quality: int) -> UInt8Array:
    """A picture as a JPEG of some quality shows it."""
    pixels = (image.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "JPEG", quality=quality)
    with Image.open(stored) as read:
        return np.asarray(read.convert("RGB"), dtype=np.uint8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the views from the command line.

    Args:
        arguments: Command line without the program's name; that of the process when `None`.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(prog="face_views", description="Render views of synthetic people.")
    parser.add_argument("--pack", required=True, help="data pack of synthetic people (omi_pack.npz)")
    parser.add_argument("--out", required=True, type=Path, help="folder to write into")
    parser.add_argument("--people", type=int, default=150, help="how many, spread evenly over the pack")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    pack = read_pack(options.pack)
    places = np.linspace(0, len(pack.numbers) - 1, min(options.people, len(pack.numbers))).round().astype(int)
    for number, name, picture in render_views(pack, [int(n) for n in pack.numbers[places]], seed=options.seed):
        folder = options.out / f"{number:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{name}.jpg", quality=95)
        if name == "portrait_0":
            logger.info("person %04d", number)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
