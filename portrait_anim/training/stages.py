"""The stages of training and the kinds of data, each a table. A new stage is a row and a step function.

A stage starts from the averaged networks of the stage before it, trains some parts and leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import torch

from portrait_anim.errors import InputError
from portrait_anim.training.crops import crops_step, draw_crops, drop_unread, prepare_crops
from portrait_anim.training.draws import Draws
from portrait_anim.training.networks import LiteNetworks
from portrait_anim.training.paint import denoise_step, distill_step, temporal_step
from portrait_anim.training.pairs import draw_pairs
from portrait_anim.training.step import Batch, StepInput, StepResult, prepare, warp_step
from portrait_anim.training.synthetic.samples import draw_samples
from portrait_anim.training.tongue_pictures import draw_lips

if TYPE_CHECKING:
    from portrait_anim.training.synthetic.renderer import Renderer


@dataclass(frozen=True, kw_only=True, slots=True)
class DataKind:
    """What a batch holds and where it comes from.

    Attributes:
        name: Key in `DATA_KINDS`.
        draw: Renders that many stored samples; the generator is on the renderer's device.
        train_shards: Pattern of the shard folders that train.
        held_out_shards: Pattern of those of held-out people.
        group: Neighbouring samples that belong together; batch sizes are multiples of it.
        prepare: Turns stored samples into network inputs, given the group.
    """

    name: str
    draw: Callable[[Renderer, int, torch.Generator], Batch]
    train_shards: str
    held_out_shards: str
    group: int = 1
    prepare: Callable[[Batch, Draws, int], Batch] = prepare


@dataclass(frozen=True, kw_only=True, slots=True)
class StageSpec:
    """One row of the stage table.

    Attributes:
        name: Name of the stage, and of its folder in a run.
        data: Kind of data.
        trains: Modules that train.
        frozen: Modules below them that do not.
        step: From a prepared batch to a loss.
        has_teacher: Whether the step learns from the networks that the stage started with.
        conclude: Changes the networks once, when the stage is done.
        aim: What the stage is for, in a few words.
    """

    name: str
    data: str
    trains: tuple[str, ...]
    step: Callable[[StepInput, Batch], StepResult]
    aim: str
    frozen: tuple[str, ...] = ()
    has_teacher: bool = False
    conclude: Callable[[LiteNetworks], None] | None = None


DATA_KINDS: Final[Mapping[str, DataKind]] = MappingProxyType(
    {
        "samples": DataKind(name="samples", draw=draw_samples, train_shards="0*", held_out_shards="1*"),
        "crops": DataKind(
            name="crops", draw=draw_crops, train_shards="crops-0*", held_out_shards="crops-1*", prepare=prepare_crops
        ),
        "lips": DataKind(name="lips", draw=draw_lips, train_shards="lips-0*", held_out_shards="lips-1*"),
        "pairs": DataKind(name="pairs", draw=draw_pairs, train_shards="pairs-0*", held_out_shards="pairs-1*", group=2),
    }
)

STAGES: Final[Mapping[str, StageSpec]] = MappingProxyType(
    {
        stage.name: stage
        for stage in (
            StageSpec(
                name="motion", data="crops", step=crops_step, aim="expression, gaze and pose of a face crop",
                trains=("motion_encoder", "warp_field.heads"), frozen=("motion_encoder.tongue",), conclude=drop_unread,
            ),
            StageSpec(
                name="warp", data="samples", step=warp_step, aim="portrait geometry, flow, visibility",
                trains=("reference_encoder", "warp_field"),
                frozen=("warp_field.heads", "warp_field.field", "warp_field.mouth"),
            ),
            StageSpec(
                name="denoise", data="samples", step=denoise_step, aim="paint and mask on the warp",
                trains=("denoiser",),
            ),
            StageSpec(
                name="temporal", data="pairs", step=temporal_step, aim="steady paint on consecutive frames",
                trains=("denoiser",),
            ),
            StageSpec(
                name="distill", data="samples", step=distill_step, aim="one or two steps instead of many",
                trains=("denoiser",), has_teacher=True,
            ),
        )
    }
)  # fmt: skip


def stage_spec(name: str) -> StageSpec:
    """Look up a stage.

    Raises:
        InputError: If there is none of that name.
    """
    if name not in STAGES:
        raise InputError(f"expected a stage among {', '.join(STAGES)}, got {name!r}")
    return STAGES[name]


def before(name: str) -> tuple[str, ...]:
    """Stages that another may start from, the nearest first: those before it in the table, then those behind it."""
    names = list(STAGES)
    place = names.index(name)
    return (*reversed(names[:place]), *names[place + 1 :])
