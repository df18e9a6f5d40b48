"""A person enrols through a link: real pages, real photo, real video of a person who does not exist, real checks."""

import json
import re
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from portrait_anim.consent.evidence import EnrolmentPolicy
from portrait_anim.consent.links import count_attempt
from portrait_anim.consent.registry import get_cameo
from portrait_anim.service import ServiceSettings, create_app
from portrait_anim.service.enrol import _Queue
from portrait_anim.service.enrolling import sweep
from portrait_anim.weights import samples_dir

from .conftest import NOW, World

SAMPLES = samples_dir()


class Scripted(Random):
    """A source of randomness that draws the movements which the sample video performs."""

    def sample(self, population, k, **_):
        steps = json.loads((SAMPLES / "challenge.json").read_text())["actions"]
        return [step["action"] for step in steps][:k]


@pytest.fixture
def world(build) -> World:
    made = build()
    settings = ServiceSettings(max_video_mb=20, num_actions=6)
    made.app = create_app(made.store, settings=settings, clock=made.clock, random=Scripted())
    return made


def link_for(world: World, name: str = "Actor A") -> str:
    return world.client("operator").post("/links", json={"name": name}).json()["path"]


def hidden(text: str, name: str) -> str:
    return re.search(rf'name="{name}" value="([^"]+)"', text)[1]


def start(world: World, link: str, portrait: Path = SAMPLES / "portrait.jpg", **changes):
    client = world.client()
    form = {"form_token": hidden(client.get(link).text, "form_token"), "adult": "yes", "agree": "yes", **changes}
    return client.post(f"{link}/start", data=form, files={"portrait": (portrait.name, portrait.read_bytes())})


def answer(world: World, link: str, shown: str, video: Path, **changes):
    form = {"form_token": hidden(shown, "form_token"), "challenge_id": hidden(shown, "challenge_id"), **changes}
    return world.client().post(f"{link}/answer", data=form, files={"video": (video.name, video.read_bytes())})


@pytest.mark.slow
def test_a_person_enrols_and_manages_the_cameo(world):
    link = link_for(world)
    shown = start(world, link)
    assert shown.status_code == 200, shown.text
    assert "Turn your head to your left" in shown.text
    world.clock.move(timedelta(minutes=1))
    result = answer(world, link, shown.text, SAMPLES / "challenge.mp4")
    assert result.status_code == 200, result.text
    assert "You are enrolled" in result.text
    token = re.search(r"pa_\d+_[\w-]{43}", result.text)[0]
    world.tokens["new"] = token
    me = world.client("new").get("/me").json()
    assert (me["name"], me["role"]) == ("Actor A", "owner")
    (cameo,) = world.client("new").get("/cameos").json()
    assert (cameo["name"], cameo["kind"]) == ("Actor A", "real")
    assert get_cameo(world.store, cameo["id"]).owner_account == me["id"]
    assert world.client("new").get(f"/cameos/{cameo['id']}/grants").json() == []
    assert world.client("owner").get(f"/cameos/{cameo['id']}").status_code == 404
    assert world.client().get(link).status_code == 404  # the link worked once
    assert list(world.app.state.service.incoming.iterdir()) == []
    gone = world.client("new").delete(f"/cameos/{cameo['id']}")
    assert gone.status_code == 200
    assert world.client("new").get("/me").status_code == 401


@pytest.mark.slow
def test_a_video_of_something_else_is_explained_and_spends_the_challenge(world):
    link = link_for(world)
    shown = start(world, link).text
    world.clock.move(timedelta(minutes=1))
    result = answer(world, link, shown, SAMPLES / "driving.mp4")
    assert result.status_code == 422
    assert len(re.findall(r"<li>", result.text)) >= 1
    assert "Try again" in result.text
    again = answer(world, link, shown, SAMPLES / "challenge.mp4")
    assert (again.status_code, "start again" in again.text) == (422, True)
    assert world.client().get(link).status_code == 200


@pytest.mark.slow
def test_what_the_deployment_demands_holds_for_who_enrols_here(world):
    demands = EnrolmentPolicy(age_check=lambda **_: "no proof of age was shown", keep_video_days=0)
    settings = ServiceSettings(max_video_mb=20, num_actions=6, enrolment=demands)
    world.app = create_app(world.store, settings=settings, clock=world.clock, random=Scripted())
    link = link_for(world)
    assert "is not kept." in world.client().get(link).text
    shown = start(world, link).text
    world.clock.move(timedelta(minutes=1))
    result = answer(world, link, shown, SAMPLES / "challenge.mp4")
    assert (result.status_code, result.text.count("<li>")) == (422, 1)
    assert "the check of age refused: no proof of age was shown" in result.text


def test_a_photo_leads_to_movements_that_are_good_for_this_link_only(world):
    link, other = link_for(world), link_for(world, "Somebody else")
    shown = start(world, link)
    assert shown.status_code == 200
    assert "these digits aloud in English, one by one:" in shown.text
    assert len(re.findall(r"<li data-action=", shown.text)) == 6
    assert re.search(r'id="code"[^>]*>\d{6}<', shown.text)
    kept = list(world.app.state.service.incoming.iterdir())
    assert len(kept) == 1
    assert b"JFIF" not in kept[0].read_bytes()  # the photo waits encrypted
    stolen = answer(world, other, shown.text, SAMPLES / "portrait.jpg")
    assert stolen.status_code == 403
    sweep(world.app.state.service, NOW + timedelta(days=99999))
    late = answer(world, link, shown.text, SAMPLES / "portrait.jpg")
    assert (late.status_code, "start again" in late.text) == (422, True)


@pytest.mark.parametrize(
    ("policy", "shows", "status", "asked"),
    [("off", "yes", 200, 0), ("optional", "no", 200, 0), ("optional", "yes", 200, 1), ("required", "yes", 200, 1),
     ("required", "no", 422, 0)],
)  # fmt: skip
def test_the_dot_is_asked_for_by_policy(policy, shows, status, asked, world):
    settings = ServiceSettings(dot=policy)
    world.app = create_app(world.store, settings=settings, clock=world.clock)
    shown = start(world, link_for(world), dot=shows)
    assert (shown.status_code, shown.text.count('<li data-action="follow_dot">')) == (status, asked)
    assert ("another" in shown.text and "browser" in shown.text) == (policy == "required")


@pytest.mark.parametrize("missing", ["adult", "agree"])
def test_only_adults_who_agree_go_on(missing, world):
    refused = start(world, link_for(world), **{missing: ""})
    assert (refused.status_code, "boxes" in refused.text) == (422, True)


def test_a_photo_without_a_face_is_explained_and_spends_nothing(world, tmp_path):
    from PIL import Image

    wall = tmp_path / "wall.png"
    Image.new("RGB", (400, 400), (200, 190, 180)).save(wall)
    link = link_for(world)
    refused = start(world, link, wall)
    assert (refused.status_code, "No face was found in this photo" in refused.text) == (422, True)
    assert list(world.app.state.service.incoming.iterdir()) == []


class LongQueue(_Queue):
    """A queue in which everybody waits for eleven minutes, longer than a challenge holds."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    async def run(self, work):
        self.clock.move(timedelta(minutes=11))
        return await super().run(work)


@pytest.mark.parametrize(
    ("after", "told"),
    [(timedelta(minutes=9), "cannot be read as a video"), (timedelta(minutes=10), "ten minutes were over")],
)
def test_what_counts_is_when_a_video_arrived(after, told, world):
    """In time, however long it waits for its turn, or too late: then it is not even opened."""
    link = link_for(world)
    shown = start(world, link).text
    world.app.state.enrolment_queue = LongQueue(world.clock)
    world.clock.move(after)
    result = answer(world, link, shown, SAMPLES / "portrait.jpg")
    assert (result.status_code, told in result.text) == (422, True), result.text


def test_a_challenge_id_cannot_lead_elsewhere(world):
    link = link_for(world)
    shown = start(world, link).text
    for crafted in ("../../keys/operator", "cha_0000000000000000", "", "x" * 5000, "cha_\x00"):
        got = answer(world, link, shown, SAMPLES / "portrait.jpg", challenge_id=crafted)
        assert got.status_code == 403, crafted


def test_a_link_is_tried_a_few_times_only(world):
    link = link_for(world)
    for _ in range(10):
        count_attempt(world.store, link.rsplit("/", 1)[1], NOW)
    refused = start(world, link)
    assert (refused.status_code, "tried too often" in refused.text) == (409, True)


def test_an_unknown_or_old_link_says_nothing_about_anybody(world):
    link = link_for(world, "Zyxname")
    world.clock.move(timedelta(days=4))
    for path in (link, "/enrol/" + "A" * 43):
        got = world.client().get(path)
        assert (got.status_code, "Zyxname" in got.text, "used already" in got.text) == (404, False, True)
