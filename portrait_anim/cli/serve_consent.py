"""`portrait-anim serve-consent`: the consent service for phones, owners and remote workers."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

import typer

from portrait_anim.cli.console import say
from portrait_anim.cli.enrolment_options import (
    AgeCheckName,
    KeepVideoDays,
    LivenessFolder,
    SameFace,
    enrolment_demands,
)
from portrait_anim.cli.guard import GuardedTyper
from portrait_anim.cli.options import Home, usage_errors


def serve_consent(
    home: Home,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8443,
    certificate: Annotated[
        Path | None, typer.Option(help="TLS certificate chain (PEM).", show_default=False, exists=True, dir_okay=False)
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Its private key (PEM).", show_default=False, exists=True, dir_okay=False)
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Proxy in front that ends TLS and is trusted to name callers."),
    ] = None,
    code: Annotated[
        str, typer.Option(metavar="required|optional|off", help="Whether spoken digits have to be heard.")
    ] = "optional",
    dot: Annotated[
        str, typer.Option(metavar="required|optional|off", help="Whether a moving dot has to be followed.")
    ] = "optional",
    max_video_mb: Annotated[int, typer.Option(min=1, max=4096, help="Largest challenge video.")] = 200,
    age_check: AgeCheckName = None,
    liveness: LivenessFolder = None,
    same_face: SameFace = "refuse",
    keep_video_days: KeepVideoDays = 30.0,
) -> None:
    """Serve enrolment from phones, owners' pages and permit checks until stopped with Ctrl-C."""
    try:
        import uvicorn

        from portrait_anim.service import ServiceSettings, create_app
    except ImportError as error:
        raise typer.BadParameter("the service needs: pip install 'portrait-anim[service]'") from error
    from portrait_anim.consent.store import open_store

    if (certificate is None) != (key is None):
        raise typer.BadParameter("expected --certificate and --key together")
    if certificate is None and proxy is None and not _is_loopback(host):
        raise typer.BadParameter(
            f"expected TLS for {host}: give --certificate and --key, or --proxy for a proxy that ends TLS"
        )
    policy, network = enrolment_demands(
        age_check=age_check, liveness=liveness, same_face=same_face, keep_video_days=keep_video_days
    )
    with usage_errors(), open_store(home) as store:
        settings = ServiceSettings(
            max_video_mb=max_video_mb,
            enrolment=policy,
            liveness=network,
            code_policy=code,  # type: ignore[arg-type]
            dot=dot,  # type: ignore[arg-type]
        )
        app = create_app(store, settings=settings, maintain_every_s=60.0)
        scheme = "http" if certificate is None else "https"
        say(f"Consent service on {scheme}://{host}:{port}; stop it with Ctrl-C", style="bold")
        uvicorn.run(
            app, host=host, port=port, log_level="warning", access_log=False, server_header=False,
            ssl_certfile=certificate, ssl_keyfile=key, proxy_headers=proxy is not None,
            forwarded_allow_ips=proxy or "", timeout_keep_alive=10, limit_concurrency=200,
        )  # fmt: skip


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def register(app: GuardedTyper) -> None:
    """Add the command to the application."""
    app.command("serve-consent")(serve_consent)
