"""Does the motion latent tell who moves? `python -m portrait_anim.training.identity_probe --pack PACK --weights W`.

Held-out people all show the same gestures. Half of the gestures make a gallery, the other half are queries: whoever can
find a query's person in the gallery from latents alone has found a leak. Nearest neighbours and a linear classifier
try, on the latents as they are, without what expression, gaze and pose explain, and centred on each gesture (what is
left is what differs between people who do the same, the strongest attack). The same probes on the crops themselves show
that the test can find identities where they are.

Shape legend: P people, G gestures, N = P G rows, person by person, D latent numbers.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F

from portrait_anim.errors import InputError
from portrait_anim.training import augment
from portrait_anim.training.draws import step_seed
from portrait_anim.training.networks import LiteNetworks, load_pipeline_weights
from portrait_anim.training.synthetic.motion import Gesture
from portrait_anim.training.synthetic.pack import read_pack
from portrait_anim.training.synthetic.posing import pose_head
from portrait_anim.training.synthetic.renderer import Renderer
from portrait_anim.training.synthetic.samples import HELD_OUT_EVERY, usable_rows

_RIDGE: Final = 1e-2  # penalty of the linear probes, relative to the variance of what they see
_THUMBNAIL: Final = 16  # side of the crops that the probes see for comparison [px]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeSet:
    """Latents of people who all do the same.

    Attributes:
        latent: `(N, D)`.
        motion: `(N, M)` what is meant to be in them: expression, gaze, pose.
        pixels: `(N, K)` small crops.
        person: `(N,)` 0 to P - 1.
        gesture: `(N,)` 0 to G - 1.
    """

    latent: torch.Tensor
    motion: torch.Tensor
    pixels: torch.Tensor
    person: torch.Tensor
    gesture: torch.Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """How often a query's person was found.

    Attributes:
        nearest: By the nearest gallery row (cosine).
        linear: By a linear classifier fitted on the gallery.
    """

    nearest: float
    linear: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeReport:
    """Result of the probe.

    Attributes:
        people: Number P of people.
        gestures: Number G of gestures.
        chance: What guessing reaches.
        margin: Half width of the 95 % interval of guessing.
        latent: Leak of the latents as they are.
        unexplained: Of what expression, gaze and pose do not explain linearly.
        centred: Of what differs between people who do the same.
        pixels: Of the crops, for comparison.
        identity_share: Share of the latents' variance that lies between people who do the same thing.
    """

    people: int
    gestures: int
    chance: float
    margin: float
    latent: Leak
    unexplained: Leak
    centred: Leak
    pixels: Leak
    identity_share: float


@torch.no_grad()
def collect(nets: LiteNetworks, renderer: Renderer, *, people: int, gestures: int, batch: int = 16) -> ProbeSet:
    """Render everybody with every gesture and encode the crops.

    Args:
        nets: Networks in evaluation mode, on the renderer's device.
        renderer: Draws the people of its split; the first `people` that can be shown are taken.
        people: Number P.
        gestures: Number G.
        batch: Pictures rendered together.

    Raises:
        InputError: If there are fewer people.
    """
    rows, _ = usable_rows(renderer)
    if len(rows) < people:
        raise InputError(f"expected {people} people to probe, got {len(rows)} in the pack; ask for fewer")
    generator = torch.Generator(renderer.device).manual_seed(step_seed("identity probe", gestures))
    wanted = _gestures(renderer, gestures, generator)
    who = rows[:people].repeat_interleave(gestures)
    index = torch.arange(gestures, device=who.device).repeat(people)
    parts = [
        _encode(nets, renderer, who[k : k + batch], wanted.rows(index[k : k + batch]), generator)
        for k in range(0, len(who), batch)
    ]
    latent, motion, pixels = (torch.cat([part[k] for part in parts]) for k in range(3))
    person = torch.arange(people, device=who.device).repeat_interleave(gestures)
    return ProbeSet(latent=latent, motion=motion, pixels=pixels, person=person, gesture=index)


def _gestures(renderer: Renderer, count: int, generator: torch.Generator) -> Gesture:
    """Random gestures with mild poses that everybody can be turned into."""
    s = renderer.statistics
    return Gesture(
        expr=s.expression(count, generator),
        head=(0.5 * s.head(count, generator)).clamp(-12, 12),
        shift=s.shift(count, generator),
        gaze=s.gaze(count, generator),
    )


def _encode(
    nets: LiteNetworks, renderer: Renderer, who: torch.Tensor, gesture: Gesture, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents `(b, D)`, motion `(b, M)` and small crops `(b, K)` of one batch of pictures."""
    motion = renderer.motion_of(who, gesture)
    image = renderer.render(who, motion).image
    anchor = pose_head(renderer.cast.mesh, renderer.cast.people, who, motion).eye_centre.mean(1)
    crops = augment.motion_crops(image, anchor, gesture.head, generator, jitter=0.0)
    out = nets.motion_encoder(crops.image * 2 - 1)
    truth = torch.cat([gesture.expr, gesture.gaze / 20, crops.rotation, crops.placement], 1)
    small = F.adaptive_avg_pool2d(crops.image, _THUMBNAIL).flatten(1)
    return out.latent.float().flatten(1), truth, small


def probe(found: ProbeSet) -> ProbeReport:
    """Look for identities in what was collected."""
    people, gestures = int(found.person.max()) + 1, int(found.gesture.max()) + 1
    gallery = found.gesture % 2 == 0
    queries = int((~gallery).sum())
    chance = 1 / people
    same = found.latent.view(people, gestures, -1)
    centred = same - same.mean(0, keepdim=True)
    # variance of person means, less what an average over G independent rows varies anyway
    within = centred.var(1).mean()
    between = (centred.mean(1).var(0).mean() - within / gestures).clamp(min=0)
    return ProbeReport(
        people=people,
        gestures=gestures,
        chance=chance,
        margin=1.96 * math.sqrt(chance * (1 - chance) / queries),
        latent=leak(found.latent, found.person, gallery),
        unexplained=leak(unexplained_part(found.latent, found.motion, gallery), found.person, gallery),
        centred=leak(centred.flatten(0, 1), found.person, gallery),
        pixels=leak(found.pixels, found.person, gallery),
        identity_share=float(between / same.flatten(0, 1).var(0).mean()),
    )


def leak(features: torch.Tensor, person: torch.Tensor, gallery: torch.Tensor) -> Leak:
    """Find the person of every query row.

    Args:
        features: `(N, D)`.
        person: `(N,)`.
        gallery: `(N,)` bool; the other rows are queries.
    """
    known, asked = features[gallery].double(), features[~gallery].double()
    mean, scale = known.mean(0), known.std(0).clamp(min=1e-6)
    known, asked = (known - mean) / scale, (asked - mean) / scale
    names, truth = person[gallery], person[~gallery]
    nearest = names[(F.normalize(asked) @ F.normalize(known).T).argmax(1)]
    target = F.one_hot(names).double()
    fitted = ridge_predict(known, target - target.mean(0), asked)
    return Leak(
        nearest=float((nearest == truth).double().mean()), linear=float((fitted.argmax(1) == truth).double().mean())
    )


def unexplained_part(features: torch.Tensor, motion: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
    """Features `(N, D)` less their linear prediction from motion `(N, M)`, fitted on the gallery."""
    centred = features.double() - features[gallery].double().mean(0)
    cause = motion.double() - motion[gallery].double().mean(0)
    return centred - ridge_predict(cause[gallery], centred[gallery], cause)


def ridge_predict(x: torch.Tensor, y: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """Ridge regression of `y` `(n, K)` on `x` `(n, D)`, both centred, at `new` `(m, D)`."""
    penalty = _RIDGE * len(x) * x.var() * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    out: torch.Tensor = new @ torch.linalg.solve(x.T @ x + penalty, x.T @ y)
    return out


def main(argv: list[str] | None = None) -> int:
    """Probe a pipeline folder with held-out people of a pack and print the report."""
    parser = argparse.ArgumentParser(prog="identity_probe", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pack", type=Path, required=True, help="data pack of people who do not exist")
    parser.add_argument("--weights", type=Path, required=True, help="pipeline folder, such as weights/lite")
    parser.add_argument("--people", type=int, default=24, help="held-out people (default 24)")
    parser.add_argument("--gestures", type=int, default=24, help="gestures of each (default 24)")
    parser.add_argument("--device", default="cpu", help="torch device (default cpu)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    pack = read_pack(arguments.pack)
    numbers = [int(n) for n in pack.numbers if n % HELD_OUT_EVERY == 0]
    renderer = Renderer.from_pack(pack, numbers=numbers, device=arguments.device, split="evaluation")
    nets = LiteNetworks()
    load_pipeline_weights(nets, arguments.weights)
    nets.to(arguments.device).eval()
    report = probe(collect(nets, renderer, people=arguments.people, gestures=arguments.gestures))
    sys.stdout.write((json.dumps(asdict(report), indent=2) if arguments.json else describe(report)) + "\n")
    return 0


def describe(report: ProbeReport) -> str:
    """The report as a few lines of text."""
    lines = [
        f"{report.people} people, {report.gestures} gestures each: chance {report.chance:.1%} +- {report.margin:.1%}",
        f"{'':34}nearest   linear",
    ]
    names = {
        "latent": "latents", "unexplained": "  without expression, gaze, pose", "centred": "  centred on each gesture",
        "pixels": "crops, 16 px (for comparison)",
    }  # fmt: skip
    for key, name in names.items():
        found: Leak = getattr(report, key)
        lines.append(f"{name:34}{found.nearest:7.1%}  {found.linear:7.1%}")
    lines.append(f"share of the latents' variance that tells people apart: {report.identity_share:.1%}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
