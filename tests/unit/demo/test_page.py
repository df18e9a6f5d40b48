"""The page is built, sends no statistics, and leads only to the handlers."""

from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the demo extra is not installed")
app = pytest.importorskip("portrait_anim_demo.app", reason="the demo is not installed")

from portrait_anim.errors import InputError  # noqa: E402
from portrait_anim_demo.feedback import plainly  # noqa: E402
from portrait_anim_demo.handlers import Handlers  # noqa: E402
from portrait_anim_demo.theme import CSS, SCRIPT, make_theme  # noqa: E402
from portrait_anim_demo.wiring import readiness  # noqa: E402


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory):
    return app.build(Handlers(tmp_path_factory.mktemp("home")))


def test_no_statistics_and_no_open_api(page) -> None:
    assert page.analytics_enabled is False
    events = [event for event in page.fns.values() if event.fn is not None]
    assert events
    assert {event.api_visibility for event in events} <= {"private", "undocumented"}


def test_renders_wait_for_each_other(page) -> None:
    (lane,) = {event.concurrency_limit for event in page.fns.values() if event.concurrency_id == "render"}
    assert lane == 1


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
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="port"):
            app.launch(tmp_path, port=taken.getsockname()[1])
