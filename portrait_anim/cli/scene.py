"""`portrait-anim scene`: check and render a script of shots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from portrait_anim.cli.console import emit, progress_bars, say
from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import OPERATOR, Grantee, Home, Json, Output

app = GuardedTyper(help="Check and render a script of shots.", no_args_is_help=True)

Script = Annotated[Path, typer.Argument(metavar="SCRIPT", help="Scene script (YAML).", show_default=False)]
Cast = Annotated[
    list[str] | None,
    typer.Option("--cast", metavar="ROLE=CAMEO", help="Cameo of a role; again for more.", show_default=False),
]
Work = Annotated[
    Path | None,
    typer.Option(help="Folder of finished shots, to go on from.", show_default="OUTPUT without its ending, .shots"),
]
Profile = Annotated[str, typer.Option(help="Model profile.")]


@app.command("check")
def check(
    script: Script, home: Home, cast: Cast = None, work: Work = None, grantee: Grantee = OPERATOR,
    profile: Profile = "lite", as_json: Json = False,
) -> None:  # fmt: skip
    """Check a script, its files and every role's grant, without rendering."""
    from portrait_anim.scenes.renderer import check_scene

    checked = check_scene(script, home=home, cast=parse_cast(cast), work=work, grantee=grantee, profile=profile)
    emit(checked, as_json=as_json)
    say(f"{script}: {len(checked.shots)} shots, {checked.duration_s:.1f} s, {checked.size[0]}x{checked.size[1]} px")
    say("Every file is there and every role is allowed.", style="bold green")


@app.command("render")
def render(
    script: Script, output: Output, home: Home, cast: Cast = None, work: Work = None, grantee: Grantee = OPERATOR,
    profile: Profile = "lite", as_json: Json = False,
) -> None:  # fmt: skip
    """Render a script into one film; shots finished before are not rendered again."""
    from portrait_anim.scenes.renderer import render_scene

    chosen = parse_cast(cast)
    with progress_bars() as on_progress:
        film = render_scene(
            script, output, home=home, cast=chosen, work=work, grantee=grantee, profile=profile, on_progress=on_progress
        )
    emit(film, as_json=as_json)
    say(f"{film.path}  {len(film.shots)} shots, {film.duration_s:.1f} s", style="bold green")
    for finding in film.verification.findings:
        say(f"  {finding}", style="dim")


def parse_cast(pairs: list[str] | None) -> dict[str, str]:
    """Read `ROLE=CAMEO` pairs.

    Raises:
        typer.BadParameter: If one is not of this form, or a role is named twice.
    """
    cast: dict[str, str] = {}
    for pair in pairs or []:
        role, equals, cameo = (part.strip() for part in pair.partition("="))
        if not (role and equals and cameo) or role in cast:
            raise typer.BadParameter(f"expected each --cast once as ROLE=CAMEO, got {pair!r}")
        cast[role] = cameo
    return cast
