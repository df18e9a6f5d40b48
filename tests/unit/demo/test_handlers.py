"""Widget values go into the real consent gate and studio."""

import json
import random
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from portrait_anim.consent.ledger import verify
from portrait_anim.consent.registry import get_challenge
from portrait_anim.consent.store import open_store
from portrait_anim.errors import Cancelled, ConsentDenied, InputError, LivenessFailed, MediaError
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.weights import samples_dir

handlers_module = pytest.importorskip("portrait_anim_demo.handlers", reason="the demo is not installed")
orders = pytest.importorskip("portrait_anim_demo.orders")

NOW = datetime(2030, 1, 2, 12, 0, tzinfo=timezone.utc)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the sample actor is enrolled, with nothing granted; enrolling takes seconds."""
    home = tmp_path_factory.mktemp("enrolled") / "home"
    portrait = str(samples_dir() / "portrait.jpg")
    handlers_module.Handlers(home, clock=Clock()).enrol_fictional(portrait, None, "Sample actor", "rendered by us")
    return home


@pytest.fixture
def handlers(tmp_path: Path, enrolled: Path, clock: Clock):
    shutil.copytree(enrolled, tmp_path / "home")
    return handlers_module.Handlers(tmp_path / "home", clock=clock, random=random.Random(5))


@pytest.fixture
def portrait() -> str:
    return str(samples_dir() / "portrait.jpg")


@pytest.fixture
def cameo(handlers):
    (only,) = handlers.cameos()
    return only


def order(cameo_id: str, **changes):
    values = {
        "portrait": str(samples_dir() / "portrait.jpg"),
        "driving": str(samples_dir() / "driving.mp4"),
        "cameo_id": cameo_id,
        "purpose": "test",
        "options": AnimationOptions(size_px=128, num_steps=1),
        "end_s": 0.2,
    }
    return orders.RenderOrder(**(values | changes))


def give(handlers, cameo, **changes):
    limits = {"purpose": "test", "max_seconds": 10, "max_renders": 3, "hours": 1.0}
    return handlers.grant(cameo.id, **(limits | changes))


def files(handlers) -> list[Path]:
    folder = handlers.renders.folder
    return sorted(folder.iterdir()) if folder.exists() else []


def test_enrolling_grants_nothing(handlers, cameo) -> None:
    assert [one.id for one in handlers.cameos()] == [cameo.id]
    assert cameo.kind == "fictional"
    assert handlers.grants(cameo.id) == []


@pytest.mark.parametrize(("name", "statement"), [("", "painted"), ("Ada", "  "), ("A" * 200, "painted")])
def test_a_missing_name_or_statement_is_an_input_error(handlers, portrait, name: str, statement: str) -> None:
    with pytest.raises(InputError, match="expected a"):
        handlers.enrol_fictional(portrait, None, name, statement)


def test_enrolling_needs_a_portrait(handlers, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="portrait"):
        handlers.enrol_fictional(None, None, "Ada", "painted")
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(MediaError):
        handlers.enrol_fictional(str(tmp_path / "text.jpg"), None, "Ada", "painted")


def test_every_challenge_is_another(handlers, portrait: str) -> None:
    first, second = (handlers.challenge("Ada", portrait, adult=True) for _ in range(2))
    assert len(first.actions) >= 5
    assert first.expires > NOW
    assert (first.id, first.actions) != (second.id, second.actions)


@pytest.mark.parametrize(("dot", "code_policy"), [(True, "off"), (False, "optional"), (True, "required")])
def test_dot_and_digits_are_asked_for_by_policy(tmp_path: Path, dot: bool, code_policy: str, portrait: str) -> None:
    handlers = handlers_module.Handlers(tmp_path / "home", code_policy=code_policy, dot=dot)
    asked = handlers.challenge("Ada", portrait, adult=True)
    assert ("follow_dot" in asked.actions, bool(asked.dot_path)) == (dot, dot)
    assert (asked.code_policy, len(asked.code)) == (code_policy, 0 if code_policy == "off" else 6)


def test_a_challenge_needs_name_portrait_and_age(handlers, portrait: str) -> None:
    with pytest.raises(InputError, match="name"):
        handlers.challenge("", portrait, adult=True)
    with pytest.raises(InputError, match="portrait"):
        handlers.challenge("Ada", None, adult=True)
    with pytest.raises(ConsentDenied, match="of age"):
        handlers.challenge("Ada", portrait, adult=False)


def test_answering_needs_challenge_portrait_and_video(handlers, portrait: str) -> None:
    with pytest.raises(InputError, match="challenge"):
        handlers.enrol_real(None, portrait, None, "video.mp4")
    challenge = handlers.challenge("Ada", portrait, adult=True)
    with pytest.raises(InputError, match="portrait"):
        handlers.enrol_real(challenge, None, None, "video.mp4")
    with pytest.raises(InputError, match="video"):
        handlers.enrol_real(challenge, portrait, None, None)


class Scripted(random.Random):
    """Draws the actions that the sample challenge video performs, instead of any."""

    def sample(self, population, k, *, counts=None):
        notes = json.loads((samples_dir() / "challenge.json").read_text(encoding="utf-8"))
        return [step["action"] for step in notes["actions"]]


@pytest.mark.slow
def test_the_person_who_answers_a_challenge_is_enrolled(tmp_path: Path, clock: Clock, portrait: str) -> None:
    handlers = handlers_module.Handlers(tmp_path / "home", clock=clock, random=Scripted(1), dot=False)
    video, seen = str(samples_dir() / "challenge.mp4"), []
    cameo = handlers.enrol_real(handlers.challenge("Ada", portrait, adult=True), portrait, None, video, seen.append)
    assert (cameo.name, cameo.kind) == ("Ada", "real")
    assert seen[-1].done > 100
    assert handlers.grants(cameo.id) == []


@pytest.mark.slow
def test_a_video_that_answers_another_challenge_is_refused(handlers, portrait: str) -> None:
    challenge = handlers.challenge("Ada", portrait, adult=True)
    with pytest.raises(LivenessFailed) as refusal:
        handlers.enrol_real(challenge, portrait, None, str(samples_dir() / "driving.mp4"))
    assert refusal.value.failures
    with pytest.raises(ConsentDenied):
        handlers.enrol_real(challenge, portrait, None, str(samples_dir() / "challenge.mp4"))


def test_closing_stops_a_verification_without_spending_the_challenge(handlers, portrait: str) -> None:
    challenge = handlers.challenge("Ada", portrait, adult=True)
    handlers.close()
    with pytest.raises(Cancelled):
        handlers.enrol_real(challenge, portrait, None, str(samples_dir() / "driving.mp4"))
    with open_store(handlers.home) as store:
        assert get_challenge(store, challenge.id, handlers.now()).id == challenge.id


def test_an_expired_challenge_is_refused(handlers, clock: Clock, portrait: str) -> None:
    challenge = handlers.challenge("Ada", portrait, adult=True)
    clock.now += timedelta(hours=1)
    with pytest.raises(ConsentDenied):
        handlers.enrol_real(challenge, portrait, None, str(samples_dir() / "driving.mp4"))
    assert len(handlers.cameos()) == 1


@pytest.mark.parametrize(
    "limits", [{"purpose": ""}, {"max_seconds": 0}, {"max_seconds": None}, {"max_renders": None}, {"hours": -1.0}]
)
def test_a_grant_without_a_limit_is_refused(handlers, cameo, limits: dict) -> None:
    with pytest.raises(InputError):
        give(handlers, cameo, **limits)
    assert handlers.grants(cameo.id) == []


def test_a_grant_needs_a_cameo(handlers) -> None:
    with pytest.raises(InputError, match="cameo"):
        handlers.grant(None, purpose="test", max_seconds=1, max_renders=1, hours=1.0)


def test_grant_and_revoke(handlers, cameo) -> None:
    made = give(handlers, cameo)
    assert made.grantee == orders.OPERATOR
    assert made.expires == NOW + timedelta(hours=1)
    assert handlers.purpose(cameo.id, made.id) == "test"
    assert handlers.revoke(made.id).revoked_at == NOW
    with pytest.raises(InputError):
        handlers.revoke(None)


def test_nothing_is_rendered_without_a_grant(handlers, cameo) -> None:
    handlers.renders.begin("tab", order(cameo.id))
    with pytest.raises(ConsentDenied) as refusal:
        list(handlers.renders.render("tab"))
    assert refusal.value.reason == "no_grant"
    assert files(handlers) == []


def test_a_revoked_expired_or_other_grant_does_not_help(handlers, cameo, clock: Clock) -> None:
    made = give(handlers, cameo)
    handlers.renders.begin("tab", order(cameo.id, purpose="something else"))
    with pytest.raises(ConsentDenied, match="purpose"):
        list(handlers.renders.render("tab"))
    clock.now += timedelta(hours=2)
    handlers.renders.begin("tab", order(cameo.id))
    with pytest.raises(ConsentDenied) as expired:
        list(handlers.renders.render("tab"))
    assert expired.value.reason == "expired"
    handlers.revoke(made.id)
    handlers.renders.begin("tab", order(cameo.id))
    with pytest.raises(ConsentDenied) as revoked:
        list(handlers.renders.render("tab"))
    assert revoked.value.reason == "revoked"


def test_another_face_is_refused(handlers, cameo) -> None:
    give(handlers, cameo)
    handlers.renders.begin("tab", order(cameo.id, portrait=str(samples_dir() / "portrait_b.jpg")))
    with pytest.raises(ConsentDenied) as refusal:
        list(handlers.renders.render("tab"))
    assert refusal.value.reason == "portrait_mismatch"


def test_one_render_at_a_time_per_page(handlers, cameo) -> None:
    handlers.renders.begin("tab", order(cameo.id))
    with pytest.raises(InputError, match="one video at a time"):
        handlers.renders.begin("tab", order(cameo.id))
    handlers.renders.begin("another tab", order(cameo.id))
    handlers.renders.leave("tab")
    handlers.renders.begin("tab", order(cameo.id))


def test_a_waiting_order_can_be_cancelled(handlers, cameo) -> None:
    give(handlers, cameo)
    handlers.renders.begin("tab", order(cameo.id))
    assert handlers.renders.cancel("tab")
    with pytest.raises(Cancelled):
        list(handlers.renders.render("tab"))
    assert not handlers.renders.cancel("tab")
    assert handlers.grants(cameo.id)[0][1].renders == 0


def test_a_file_is_made_verified_and_recorded(handlers, cameo) -> None:
    made = give(handlers, cameo)
    handlers.renders.begin("tab", order(cameo.id))
    *progress, result = handlers.renders.render("tab")
    assert progress
    assert result.grant_id == made.id
    assert result.verification.ok
    assert files(handlers) == sorted([result.path, result.sheet])
    assert handlers.grants(cameo.id)[0][1].renders == 1


def test_cancel_stops_a_running_render_and_leaves_nothing(handlers, cameo) -> None:
    give(handlers, cameo)
    handlers.renders.begin("tab", order(cameo.id, end_s=None))
    running = handlers.renders.render("tab")
    next(running)
    handlers.renders.cancel("tab")
    with pytest.raises(Cancelled):
        list(running)
    assert files(handlers) == []
    with open_store(handlers.home) as store:
        assert verify(store) > 0


def test_a_closed_page_stops_its_render(handlers, cameo) -> None:
    give(handlers, cameo)
    handlers.renders.begin("tab", order(cameo.id, end_s=None))
    running = handlers.renders.render("tab")
    next(running)
    running.close()
    assert files(handlers) == []
    assert not handlers.renders.cancel("tab")


def test_options_come_from_the_widgets() -> None:
    widgets = {
        "motion": "absolute",
        "expression_gain": 1.5,
        "pose_gain": 0.5,
        "regions": ["mouth", "eyes"],
        "size_px": 384,
        "num_steps": 3,
        "seed": None,
        "smoothing": 0,
        "crop_only": True,
        "face": "left",
        "driving_face": None,
    }
    options = orders.make_options(**widgets)
    assert options == AnimationOptions(
        motion="absolute",
        expression_gain=1.5,
        pose_gain=0.5,
        regions=("mouth", "eyes"),
        size_px=384,
        num_steps=3,
        seed=0,
        smoothing=0.0,
        crop_only=True,
        face="left",
    )
    with pytest.raises(InputError, match="region"):
        orders.make_options(**(widgets | {"regions": []}))
    with pytest.raises(InputError, match="expression_gain"):
        orders.make_options(**(widgets | {"expression_gain": 9}))
    with pytest.raises(InputError, match="seed"):
        orders.make_options(**(widgets | {"seed": -1}))
