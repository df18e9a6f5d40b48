"""`portrait-anim animate`: one portrait, one driving clip, one video."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portrait_anim.cli.console import emit, progress_bars, say
from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import (
    DEFAULTS,
    OPERATOR,
    CacheEvery,
    DecoderName,
    Device,
    Face,
    Grantee,
    Guidance,
    Guided,
    HeadPlacement,
    Home,
    Json,
    Offload,
    Output,
    Overlap,
    PrecisionName,
    PresetName,
    Purpose,
    Rate,
    Regions,
    SecondDevice,
    SolverName,
    animation_options,
)
from portrait_anim.pipelines.options import MotionMode

if TYPE_CHECKING:
    from portrait_anim.studio import RenderResult


def animate(
    portrait: Annotated[
        Path, typer.Argument(metavar="PORTRAIT", help="Picture to animate, or a video.", show_default=False)
    ],
    driving: Annotated[
        Path,
        typer.Argument(metavar="DRIVING", help="Video, picture or motion file that moves it.", show_default=False),
    ],
    cameo: Annotated[str, typer.Option(help="Cameo whose likeness the portrait shows.", show_default=False)],
    output: Output,
    home: Home,
    grantee: Grantee = OPERATOR,
    purpose: Purpose = "",
    context: Annotated[
        str, typer.Option(help="Where it will appear, as named in the grant.", rich_help_panel="Consent")
    ] = "animate",
    motion: Annotated[MotionMode, typer.Option(help="Add the driver's movement, or copy its pose.")] = DEFAULTS.motion,
    expression_gain: Annotated[float, typer.Option(help="Factor on expressions.")] = DEFAULTS.expression_gain,
    pose_gain: Annotated[float, typer.Option(help="Factor on head movement.")] = DEFAULTS.pose_gain,
    regions: Regions = None,
    smoothing: Annotated[float, typer.Option(help="Smoothing over time, 0 to 1.")] = DEFAULTS.smoothing,
    size: Annotated[
        int | None, typer.Option(help="Side of the generated face, in pixels.", show_default="256, xportrait2: 512")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.", show_default="2, xportrait2: 35")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same frames.")] = DEFAULTS.seed,
    start: Annotated[float, typer.Option(help="Where to begin in the clip, in seconds.")] = 0.0,
    end: Annotated[
        float | None, typer.Option(help="Where to stop in the clip, in seconds.", show_default="its end")
    ] = None,
    fps: Rate = None,
    audio: Annotated[str, typer.Option(metavar="driver|none|FILE", help="Sound of the result.")] = "driver",
    face: Face = None,
    driving_face: Face = None,
    frame: Annotated[int, typer.Option(min=0, help="Frame to use when PORTRAIT is a video.")] = 0,
    crop_only: Annotated[bool, typer.Option("--crop-only", help="Write only the square face.")] = DEFAULTS.crop_only,
    compare: Annotated[bool, typer.Option("--compare", help="Show portrait and driver beside the result.")] = False,
    sheet: Annotated[Path | None, typer.Option(help="Also write a contact sheet.", show_default=False)] = None,
    profile: Annotated[str, typer.Option(help="Model profile.")] = "lite",
    device: Device = "cpu",
    preview: Annotated[
        bool, typer.Option("--preview", help="Show in the terminal what is being made.", show_default=False)
    ] = False,
    preset: PresetName = None,
    solver: SolverName = None,
    guidance: Guidance = None,
    guided: Guided = None,
    cache_every: CacheEvery = None,
    overlap: Overlap = False,
    head_placement: HeadPlacement = False,
    decoder: DecoderName = None,
    precision: PrecisionName = None,
    offload: Offload = False,
    second_device: SecondDevice = None,
    as_json: Json = False,
) -> None:
    """Animate a portrait with a driving clip; needs a grant of the person shown."""
    options = animation_options(
        motion=motion, expression_gain=expression_gain, pose_gain=pose_gain, regions=regions, size_px=size,
        num_steps=steps, seed=seed, crop_only=crop_only, face=face, driving_face=driving_face, smoothing=smoothing,
        profile=profile, preset=preset, solver=solver, guidance=guidance, guided=guided, cache_every=cache_every,
        overlap=overlap or None, head_placement=head_placement or None, decoder=decoder,
    )  # fmt: skip
    from portrait_anim import studio

    load = partial(
        studio.load_pipeline, device=device, second_device=second_device, offload=offload, precision=precision
    )
    with progress_bars(show_pictures=preview) as on_progress:
        result = studio.animate(
            portrait, driving, cameo=cameo, output=output, home=home, grantee=grantee, purpose=purpose,
            context=context, options=options, audio=audio, start_s=start, end_s=end, fps=fps, compare=compare,
            sheet=sheet, portrait_frame=frame, profile=profile, load=load, on_progress=on_progress,
        )  # fmt: skip
    show_result(result, as_json=as_json)


def show_result(result: RenderResult, *, as_json: bool) -> None:
    """Tell where a finished video is and what is known about it.

    Args:
        result: What the studio returned.
        as_json: Whether to write it as JSON to standard output.
    """
    emit(result, as_json=as_json)
    say(f"{result.path}  {result.num_frames} frames at {float(result.fps):.4g} per second", style="bold green")
    say(f"Consent: cameo {result.cameo_id}, grant {result.grant_id}, permit {result.permit_id}")
    for finding in result.verification.findings:
        say(f"  {finding}", style="dim")
    if result.sheet is not None:
        say(f"Contact sheet: {result.sheet}")


def register(app: GuardedTyper) -> None:
    """Add the command to the application."""
    app.command("animate")(animate)
