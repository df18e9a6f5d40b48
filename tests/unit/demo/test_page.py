"""The page is built, sends no statistics, and leads only to the handlers."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the demo extra is not installed")
pytest.importorskip("portrait_anim_demo", reason="the demo is not installed")

from portrait_anim.errors import InputError
from portrait_anim_demo.feedback import plainly
from portrait_anim_demo.theme import CSS, SCRIPT, make_theme
from portrait_anim_demo.wiring import readiness

BUILD = """
import json, sys
from pathlib import Path
from portrait_anim_demo.app import build
from portrait_anim_demo.handlers import Handlers

page = build(Handlers(Path(sys.argv[1])))
events = [event for event in page.fns.values() if event.fn is not None]
print(json.dumps({
    "analytics": page.analytics_enabled,
    "visibility": sorted({event.api_visibility for event in events}),
    "render": [event.concurrency_limit for event in events if event.concurrency_id == "render"],
}))
"""
LAUNCH = """
import sys
from portrait_anim.errors import InputError
from portrait_anim_demo.app import launch

try:
    launch(sys.argv[1], port=int(sys.argv[2]))
except InputError as error:
    print(error)
"""


def run(code: str, *arguments: str) -> str:
    """Gradio leaves event loops and sockets open, so it runs in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_sends_no_statistics_and_opens_no_api(tmp_path: Path) -> None:
    page = json.loads(run(BUILD, str(tmp_path / "home")).splitlines()[-1])
    assert page["analytics"] is False
    assert page["visibility"] == ["private"]
    assert page["render"] == [1]


def test_fonts_and_styles_are_of_the_system() -> None:
    theme = make_theme()
    assert not theme._stylesheets
    assert "http" not in CSS + SCRIPT


def test_the_button_waits_for_everything() -> None:
    button, hint = readiness(False, True, None, None)
    assert button["interactive"] is False
    assert "a portrait, a cameo" in hint
    button, hint = readiness(True, True, "cam_1", None)
    assert button["interactive"] is False
    assert "permission" in hint
    assert readiness(True, True, "cam_1", "gra_1") == ({"interactive": True, "__type__": "update"}, "")


def test_typed_errors_become_messages() -> None:
    import gradio as gr

    def refuse() -> None:
        raise InputError("expected a portrait")

    def refuse_later():
        yield 1
        raise InputError("expected a portrait")

    with pytest.raises(gr.Error, match="expected a portrait"):
        plainly(refuse)()
    stream = plainly(refuse_later)()
    assert next(stream) == 1
    with pytest.raises(gr.Error, match="expected a portrait"):
        next(stream)


def test_a_taken_port_is_an_input_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "expected a free port" in run(LAUNCH, str(tmp_path), str(taken.getsockname()[1]))
