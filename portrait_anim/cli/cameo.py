"""`portrait-anim cameo`: enrol a likeness, and give and end permission to animate it."""

from __future__ import annotations

import os
import shlex
import subprocess
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portrait_anim.cli import grant as granting
from portrait_anim.cli.console import emit, plain, progress_bars, say, show_table
from portrait_anim.cli.enrolment_options import (
    AgeCheckName,
    KeepVideoDays,
    LivenessFolder,
    SameFace,
    enrolment_demands,
)
from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import CameoId, Face, Home, Json, Output, default_home, now_utc, usage_errors

if TYPE_CHECKING:
    from portrait_anim.consent.records import Cameo

app = GuardedTyper(help="Enrol a likeness; give and end permission to animate it.", no_args_is_help=True)

app.command("grant")(granting.give)
app.command("revoke")(granting.revoke)


@app.command("challenge")
def challenge(
    name: Annotated[str, typer.Option(help="Name of the person who will enrol.", show_default=False)],
    portrait: Annotated[Path, typer.Option(help="Photo that will be enrolled.", show_default=False)],
    home: Home,
    adult: Annotated[bool, typer.Option("--adult", help="The person declares to be 18 or older; required.")] = False,
    code: Annotated[
        str, typer.Option(metavar="required|optional|off", help="Whether six digits have to be heard in the video.")
    ] = "optional",
    dot: Annotated[
        bool, typer.Option("--dot/--no-dot", help="Whether a moving dot on the page has to be followed.")
    ] = True,
    page: Annotated[
        Path | None, typer.Option(help="Where the page goes that leads through it.", show_default="in the home folder")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    face: Face = None,
    as_json: Json = False,
) -> None:
    """Issue a fresh sequence of movements to perform before a camera, good for this photo, once, for ten minutes.

    A page is written that leads through it, shows the dot and can record with the camera of this machine.
    """
    from portrait_anim.challenge_page import code_request, step_text, sweep_pages, write_page
    from portrait_anim.consent.store import open_store
    from portrait_anim.enrolment import issue_challenge_for

    with usage_errors(), open_store(home) as store:
        issued = issue_challenge_for(
            store, portrait=portrait, name=name, adult_declared=adult, now=now_utc(), face=face, dot=dot,
            code_policy=code,  # type: ignore[arg-type]
        )  # fmt: skip
    folder = home / "challenges"
    sweep_pages(folder, now_utc())
    answer = _answer_command(issued.id, portrait, home, face)
    written = write_page(issued, page or folder / f"{issued.id}.html", answer)
    emit({**plain(issued), "name": issued.name, "page": str(written)}, as_json=as_json)
    say(f"Challenge {issued.id}, to be answered before {issued.expires:%H:%M:%S} UTC", style="bold")
    say("Look into the camera, then do this in order, calmly, about two seconds each:")
    for number, action in enumerate(issued.actions, start=1):
        say(f"  {number}. {step_text(action)}, then look ahead again")
    if issued.code:
        say(f"{code_request(issued)}: {' '.join(issued.code)}")
    say(f"This page leads you through it{', shows the dot' if dot else ''} and records: {written}", style="bold")
    say(f"Then: {answer}")
    if open_page and not as_json:
        _open_page(written)


@app.command("enroll")
def enroll(
    challenge_id: Annotated[str, typer.Option("--challenge", help="Id of the challenge.", show_default=False)],
    portrait: Annotated[Path, typer.Option(help="Photo of the person.", show_default=False)],
    video: Annotated[Path, typer.Option(help="The challenge, performed by the same person.", show_default=False)],
    home: Home,
    face: Face = None,
    mirrored: Annotated[bool, typer.Option("--mirrored", help="The camera saved a mirror image.")] = False,
    age_check: AgeCheckName = None,
    liveness: LivenessFolder = None,
    same_face: SameFace = "refuse",
    keep_video_days: KeepVideoDays = 30.0,
    as_json: Json = False,
) -> None:
    """Enrol a living person from a portrait and the video that answers a challenge."""
    from portrait_anim.consent.store import open_store
    from portrait_anim.enrolment import enroll_from_files

    policy, network = enrolment_demands(
        age_check=age_check, liveness=liveness, same_face=same_face, keep_video_days=keep_video_days
    )
    with open_store(home) as store, progress_bars() as on_progress:
        cameo = enroll_from_files(
            store, challenge_id=challenge_id, portrait=portrait, video=video, now=now_utc(), face=face,
            mirrored=mirrored, policy=policy, liveness=network, on_progress=on_progress,
        )  # fmt: skip
    emit(shown(cameo), as_json=as_json)
    say(f"Enrolled {cameo.name} as {cameo.id}. Nothing is allowed yet: `portrait-anim cameo grant {cameo.id} ...`")


@app.command("enroll-fictional")
def enroll_fictional(
    portrait: Annotated[
        Path, typer.Argument(metavar="PORTRAIT", help="Picture of somebody who does not exist.", show_default=False)
    ],
    statement: Annotated[str, typer.Option(help="Why there is nobody to ask; you sign this.", show_default=False)],
    home: Home,
    name: Annotated[str | None, typer.Option(help="What to call the figure.", show_default="the file name")] = None,
    face: Face = None,
    as_json: Json = False,
) -> None:
    """Enrol a painted or invented figure on your signed statement; refused for enrolled real people."""
    from portrait_anim.consent.store import open_store
    from portrait_anim.enrolment import enroll_fictional_from_file

    with usage_errors(), open_store(home) as store:
        cameo = enroll_fictional_from_file(
            store, portrait=portrait, name=name or portrait.stem, statement=statement, now=now_utc(), face=face
        )
    emit(shown(cameo), as_json=as_json)
    say(f"Enrolled {cameo.name} as {cameo.id}. Nothing is allowed yet: `portrait-anim cameo grant {cameo.id} ...`")


@app.command("list")
def list_all(
    home: Home,
    deleted: Annotated[bool, typer.Option("--deleted", help="Show deleted ones too.")] = False,
    as_json: Json = False,
) -> None:
    """List the enrolled cameos."""
    from portrait_anim.consent.registry import list_cameos
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        cameos = list_cameos(store, deleted=deleted)
    emit([shown(cameo) for cameo in cameos], as_json=as_json)
    show_table(
        "Cameos", ("id", "name", "kind", "status", "enrolled (UTC)"),
        [(c.id, c.name, c.kind, c.status, f"{c.created:%Y-%m-%d %H:%M}") for c in cameos],
    )  # fmt: skip


@app.command("show")
def show(cameo_id: CameoId, home: Home, as_json: Json = False) -> None:
    """Show one cameo and its grants."""
    from portrait_anim.consent.grants import list_grants
    from portrait_anim.consent.registry import get_cameo
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        cameo, grants = get_cameo(store, cameo_id), list_grants(store, cameo_id)
    emit({"cameo": shown(cameo), "grants": grants}, as_json=as_json)
    say(f"{cameo.id}  {cameo.name}  ({cameo.kind}, {cameo.status})", style="bold")
    granting.show_grants(grants)


@app.command("contact")
def contact(
    cameo_id: CameoId,
    home: Home,
    email: Annotated[str | None, typer.Option(help="Address; empty ends it.", show_default="unchanged")] = None,
    webhook: Annotated[str | None, typer.Option(help="https address; empty ends it.", show_default="unchanged")] = None,
    as_json: Json = False,
) -> None:
    """Show or choose where the owner is told about every use."""
    from portrait_anim.consent.notify import Contact, get_contact, set_contact
    from portrait_anim.consent.registry import get_cameo
    from portrait_anim.consent.store import open_store

    with usage_errors(), open_store(home) as store:
        kept = get_contact(store, get_cameo(store, cameo_id).id)
        if email is not None or webhook is not None:
            wanted = Contact(
                email=kept.email if email is None else email, webhook=kept.webhook if webhook is None else webhook
            )
            kept = set_contact(store, cameo_id, wanted)
    emit(kept, as_json=as_json)
    say(f"E-mail: {kept.email or 'none'}; webhook: {kept.webhook or 'none'}")


@app.command("export")
def export(cameo_id: CameoId, output: Output, home: Home, as_json: Json = False) -> None:
    """Write everything that is kept about a person to one zip file (GDPR): JSON, pictures, ledger rows."""
    from portrait_anim.consent.export import export_cameo
    from portrait_anim.consent.store import open_store

    with open_store(home) as store:
        written = export_cameo(store, cameo_id, output, now=now_utc())
    emit({"path": str(written)}, as_json=as_json)
    say(f"Wrote {written}; only you can read it.", style="bold green")


@app.command("delete")
def delete(
    cameo_id: CameoId,
    home: Home,
    withdraw_renders: Annotated[
        bool, typer.Option("--withdraw-renders", help="Also withdraw every video made so far.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Erase a cameo and end all its grants; the ledger keeps that it existed."""
    from portrait_anim.consent.store import open_store
    from portrait_anim.publishing import erase_cameo

    if not yes:
        typer.confirm(f"Erase {cameo_id} for good?", abort=True, err=True)
    with open_store(home) as store:
        erased, _ = erase_cameo(store, cameo_id, now=now_utc(), withdraw_renders=withdraw_renders)
    emit(shown(erased), as_json=as_json)
    say(f"Deleted {erased.id}; its grants have ended.", style="bold")


def _answer_command(challenge_id: str, portrait: Path, home: Path, face: str | None) -> str:
    """The command that hands in the answer, as it has to be typed here."""
    words = ["portrait-anim", "cameo", "enroll", "--challenge", challenge_id, "--portrait", str(portrait.resolve())]
    words += [] if face is None else ["--face", face]
    words += [] if home == default_home() else ["--home", str(home.resolve())]
    join = subprocess.list2cmdline if os.name == "nt" else shlex.join
    return f"{join(words)} --video VIDEO"


def _open_page(page: Path) -> None:
    """Open a page in a browser of the desktop; one of the terminal shows no dot and would keep the terminal."""
    with suppress(webbrowser.Error):
        browser = webbrowser.get()
        if type(browser) not in (webbrowser.GenericBrowser, webbrowser.Elinks):
            browser.open(page.resolve().as_uri())


def shown(cameo: Cameo) -> dict[str, object]:
    """Return a cameo for its owner's eyes: with its name, which logs never show."""
    return {**plain(cameo), "name": cameo.name}
