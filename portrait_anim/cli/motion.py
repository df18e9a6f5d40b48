"""`portrait-anim motion`: keep the motion of a clip without the driver's picture."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from portrait_anim.cli.console import emit, progress_bars, say
from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import Face, Json, Output, Rate
from portrait_anim.errors import InputError
from portrait_anim.types import Progress, ProgressCallback

app = GuardedTyper(help="Keep the motion of a clip without the driver's picture.", no_args_is_help=True)


@app.command("extract")
def extract(
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="Driving clip.", show_default=False)],
    output: Output,
    start: Annotated[float, typer.Option(help="Where to begin, in seconds.")] = 0.0,
    end: Annotated[float | None, typer.Option(help="Where to stop, in seconds.", show_default="the end")] = None,
    fps: Rate = None,
    face: Face = None,
    profile: Annotated[str, typer.Option(help="Model profile that will use it.")] = "lite",
    as_json: Json = False,
) -> None:
    """Write the motion of a clip to a file that `animate` takes in place of the clip."""
    from portrait_anim.inputs import DrivingSource
    from portrait_anim.pipelines.motion_file import save_motion
    from portrait_anim.studio import load_pipeline

    source = DrivingSource(clip, start_s=start, end_s=end, fps=fps)
    if source.motion is not None:
        raise InputError(f"expected a clip to extract motion from, got the motion file {clip.name}; use it as it is")
    pipeline = load_pipeline(profile)
    with progress_bars() as on_progress, source.frames() as frames:
        report = partial(report_frame, on_progress, source.num_frames)
        motion = pipeline.extract_motion(frames, source.fps, face=face, on_frame=report)
    save_motion(output, motion, profile=profile)
    emit({"path": output, "num_frames": len(motion), "fps": motion.fps, "profile": profile}, as_json=as_json)
    say(f"{output}  motion of {len(motion)} frames at {float(motion.fps):.4g} per second", style="bold green")


def report_frame(on_progress: ProgressCallback, total: int | None, done: int) -> None:
    """Report one measured frame of the clip."""
    on_progress(Progress(stage="motion", done=done, total=total))
