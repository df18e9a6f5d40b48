"""The page of the demo: its layout, and starting it. What the widgets do is in `wiring` and `handlers`."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import gradio as gr
import typer

from portrait_anim.consent.records import CodePolicy
from portrait_anim.errors import InputError
from portrait_anim.weights import samples_dir
from portrait_anim_demo import cards, render_cards, wiring
from portrait_anim_demo.handlers import Handlers
from portrait_anim_demo.theme import CSS, SCRIPT, make_theme

logger = logging.getLogger(__name__)

TITLE = "Portrait animation with consent"
INTRO = (
    "One photo and a driving clip become an expressive video. Nothing is rendered without the permission of the "
    "person shown, every file is labelled and signed, and everything stays on this machine."
)
MAX_UPLOAD = "2gb"
CACHE_CHECK_S, CACHE_AGE_S = 600, 24 * 3600


def build(handlers: Handlers) -> Any:
    """Lay the page out and connect it.

    Args:
        handlers: What the widgets do.

    Returns:
        The `gradio.Blocks`, not yet started.
    """
    page = gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(CACHE_CHECK_S, CACHE_AGE_S), fill_width=False
    )
    with page:
        gr.HTML(f"<h1>{TITLE}</h1><p>{INTRO}</p>", elem_id="title")
        with gr.Row(equal_height=True):
            portrait = cards.portrait_card()
            clip = cards.clip_card()
        cameo = cards.cameo_card(sound=handlers.code_policy != "off")
        options = render_cards.option_card()
        result = render_cards.result_card()
        wiring.connect(page, handlers, portrait, clip, cameo, options, result)
    return page


def launch(
    home: Path | str,
    host: str = "127.0.0.1",
    port: int = 7860,
    *,
    open_browser: bool = False,
    code_policy: CodePolicy = "optional",
    dot: bool = True,
) -> None:
    """Open the page and serve it until Ctrl-C.

    Uploads are kept in a private folder that is removed at the end. No usage statistics are sent.

    Args:
        home: Folder of consent store, keys and results.
        host: Address to listen on; the default is this machine only.
        port: Port to listen on; 0 takes a free one.
        open_browser: Whether to open the page in the browser.
        code_policy: Whether six spoken digits must be heard in challenge videos.
        dot: Whether challenges ask to follow a dot.

    Raises:
        InputError: If the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="portrait-anim-demo-", ignore_cleanup_errors=True) as uploads:
        # Gradio takes these only from the environment, and reads them while the page is built.
        os.environ.update(GRADIO_TEMP_DIR=uploads, GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
        handlers = Handlers(Path(home), code_policy=code_policy, dot=dot)
        page = build(handlers).queue(default_concurrency_limit=1, max_size=32, api_open=False)
        try:
            _, url, _ = page.launch(
                server_name=host,
                server_port=port or None,
                inbrowser=open_browser,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                show_error=False,
                allowed_paths=[str(samples_dir()), str(handlers.renders.folder)],
                max_file_size=MAX_UPLOAD,
                enable_monitoring=False,
                ssr_mode=False,
                footer_links=[],
                theme=make_theme(),
                css=CSS,
                js=SCRIPT,
            )
        except OSError as error:
            raise InputError(f"expected a free port, got {port}, which is taken; choose another with --port") from error
        typer.echo(f"The demo runs at {url} (Ctrl-C ends it). Results go to {handlers.renders.folder}", err=True)
        try:
            while True:
                threading.Event().wait(3600)
        except KeyboardInterrupt:
            logger.info("ended by the user")
        finally:
            handlers.close()
            page.close(verbose=False)
