"""From files to a signed video, with the embedded weights and the sample actors: what works and what must not."""

from datetime import datetime, timedelta, timezone
from fractions import Fraction

import numpy as np
import pytest

import portrait_anim
from portrait_anim import studio
from portrait_anim.consent.grants import grant, revoke
from portrait_anim.consent.inbox import get_use, list_uses
from portrait_anim.consent.ledger import Ledger
from portrait_anim.consent.store import open_store
from portrait_anim.enrolment import enroll_fictional_from_file
from portrait_anim.errors import Cancelled, ConsentDenied, InputError, MediaError, NoFaceFound, SourceRefused
from portrait_anim.media.image import read_image, write_image
from portrait_anim.media.reader import VideoReader, probe
from portrait_anim.pipelines.motion_file import save_motion
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.weights import samples_dir

SHORT = {"end_s": 0.36}


@pytest.fixture(scope="module")
def pipeline():
    return studio.load_pipeline()


@pytest.fixture(scope="module")
def samples():
    return samples_dir()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def cameo(home, samples):
    with open_store(home) as store:
        now = datetime.now(timezone.utc)
        portrait = samples / "portrait.jpg"
        return enroll_fictional_from_file(
            store, portrait=portrait, name="Actor", statement="Does not exist.", now=now
        ).id


def allow(home, cameo, **changes):
    now = datetime.now(timezone.utc)
    values = {
        "grantee": "operator", "purpose": "test", "allowed_contexts": ["animate"], "expires": now + timedelta(hours=1),
        "max_renders": 5, "max_seconds": 60.0, "now": now,
    }  # fmt: skip
    with open_store(home) as store:
        return grant(store, cameo, **{**values, **changes}).id


@pytest.fixture
def render(home, cameo, samples, pipeline, tmp_path):
    def run(output="out.mp4", driving=None, portrait=None, **changes):
        arguments = {"cameo": cameo, "home": home, "purpose": "test", "pipeline": pipeline, **SHORT, **changes}
        source, clip = portrait or samples / "portrait.jpg", driving or samples / "driving.mp4"
        return studio.animate(source, clip, output=tmp_path / output, **arguments)

    return run


def frames_of(path):
    with VideoReader(path) as reader:
        return np.stack([frame.image for frame in reader])


def kinds(home):
    with open_store(home) as store:
        return [row.kind for row in Ledger(store).rows()]


def test_a_permitted_render_is_labelled_signed_and_recorded(render, home, cameo, samples):
    grant_id = allow(home, cameo)
    stages = []
    result = render(on_progress=lambda p: stages.append(p.stage), sheet=home.parent / "sheet.png")
    info = probe(result.path)
    assert result.num_frames == 9
    assert info.fps == Fraction(25)
    assert info.has_audio
    assert (info.width, info.height) == read_image(samples / "portrait.jpg").shape[1::-1]
    assert result.verification.ok
    assert result.grant_id == grant_id
    assert portrait_anim.verify(result.path, home=home).claims
    assert portrait_anim.verify(result.sheet, home=home).ok
    assert kinds(home)[-2:] == ["authorised", "rendered"]
    assert {"motion", "animate", "sign"} <= set(stages)
    with open_store(home) as store:
        (use,) = list_uses(store, cameo_id=cameo)
        assert get_use(store, use.id).thumbnail is not None  # what its owner is shown
    assert not [p for p in result.path.parent.iterdir() if p.name.startswith(".portrait-anim")]


def test_without_a_grant_nothing_is_rendered_and_the_refusal_is_recorded(render, home, tmp_path):
    with pytest.raises(ConsentDenied) as refusal:
        render()
    assert refusal.value.reason == "no_grant"
    assert not (tmp_path / "out.mp4").exists()
    assert kinds(home)[-1] == "refused"


def test_a_render_of_another_cameo_is_no_source(render, home, cameo, samples, tmp_path):
    allow(home, cameo)
    first = render("a.mp4")
    report = portrait_anim.verify(first.path, home=home)
    assert report.ok
    assert first.permit_id.startswith(report.mark.permit_prefix)
    with open_store(home) as store:
        now = datetime.now(timezone.utc)
        portrait = samples / "portrait_b.jpg"
        other = enroll_fictional_from_file(store, portrait=portrait, name="B", statement="Does not exist.", now=now).id
    allow(home, other)
    with pytest.raises(SourceRefused) as refusal:
        render("b.mp4", driving=first.path, portrait=portrait, cameo=other)
    assert (refusal.value.reason, refusal.value.source) == ("foreign_mark", "a.mp4")
    assert not (tmp_path / "b.mp4").exists()
    assert kinds(home)[-1] == "refused"


def test_another_face_is_refused(render, home, cameo, samples):
    allow(home, cameo)
    with pytest.raises(ConsentDenied) as refusal:
        render(portrait=samples / "portrait_b.jpg")
    assert refusal.value.reason == "portrait_mismatch"


@pytest.mark.parametrize(
    ("limits", "request_", "reason"),
    [
        ({"purpose": "family"}, {}, "wrong_purpose"),
        ({"grantee": "someone"}, {}, "wrong_grantee"),
        ({"allowed_contexts": ["scene:one"]}, {}, "wrong_context"),
        ({"max_seconds": 0.1}, {}, "too_long"),
    ],
)
def test_use_beyond_the_grant_is_refused(render, home, cameo, limits, request_, reason):
    allow(home, cameo, **limits)
    with pytest.raises(ConsentDenied) as refusal:
        render(**request_)
    assert refusal.value.reason == reason


def test_revocation_stops_a_running_render(render, home, cameo, tmp_path):
    grant_id = allow(home, cameo)

    def revoke_at_first_frame(progress):
        if progress.stage == "animate" and progress.done == 1:
            with open_store(home) as store:
                revoke(store, grant_id, datetime.now(timezone.utc))

    with pytest.raises(ConsentDenied) as refusal:
        render(on_progress=revoke_at_first_frame)
    assert refusal.value.reason == "revoked"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home"]
    assert kinds(home)[-1] == "aborted"


@pytest.mark.parametrize("stage", ["motion", "animate"])
def test_cancel_leaves_nothing(render, home, cameo, tmp_path, stage):
    allow(home, cameo)
    seen = []
    with pytest.raises(Cancelled):
        render(on_progress=lambda p: seen.append(p.stage), cancel=lambda: stage in seen)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home"]
    with open_store(home) as store:
        assert Ledger(store).verify() > 0


def test_ctrl_c_leaves_nothing(render, home, cameo, tmp_path):
    allow(home, cameo)

    def interrupt(progress):
        if progress.stage == "animate" and progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(on_progress=interrupt)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home"]
    assert kinds(home)[-1] == "aborted"


def generated_by(render, *arguments, **changes):
    """Generated crops and finished frames of a render; the mark in the latter is another for every permit."""
    crops = []
    result = render(
        *arguments, on_progress=lambda p: crops.append(p.preview) if p.stage == "animate" else None, **changes
    )
    return np.stack(crops), frames_of(result.path)


def psnr_db(first, second):
    return -10 * np.log10((((first.astype(float) - second) / 255) ** 2).mean())


def test_same_seed_same_pictures_and_options_change_them(render, home, cameo):
    allow(home, cameo)
    first, shown = generated_by(render, "a.mp4", options=AnimationOptions(seed=3))
    again, shown_again = generated_by(render, "b.mp4", options=AnimationOptions(seed=3))
    np.testing.assert_array_equal(first, again)
    assert (shown != shown_again).any()  # each carries the mark of its own permit
    assert psnr_db(shown, shown_again) > 38
    steps, _ = generated_by(render, "c.mp4", options=AnimationOptions(seed=3, num_steps=1))
    assert (first != steps).any()


def test_motion_file_gives_the_same_pictures_as_the_clip(render, home, cameo, pipeline, samples, tmp_path):
    allow(home, cameo)
    source = studio.DrivingSource(samples / "driving.mp4", **SHORT)
    with source.frames() as frames:
        save_motion(tmp_path / "m.safetensors", pipeline.extract_motion(frames, source.fps))
    clip, _ = generated_by(render, "a.mp4", audio="none")
    motion, _ = generated_by(render, "b.mp4", driving=tmp_path / "m.safetensors", end_s=None)
    np.testing.assert_array_equal(clip, motion)


def test_crop_size_compare_rate_and_picture_driver(render, home, cameo, samples):
    allow(home, cameo)
    crop = render("crop.mp4", options=AnimationOptions(crop_only=True, size_px=320), audio="none", fps=Fraction(10))
    info = probe(crop.path)
    assert (info.width, info.height, info.fps, info.has_audio) == (320, 320, Fraction(10), False)
    still = render("still.mp4", driving=samples / "portrait_b.jpg", end_s=None, compare=True)
    assert still.num_frames == 1
    assert probe(still.path).width > 2 * read_image(samples / "portrait.jpg").shape[1]


def test_the_face_really_moves(render, home, cameo):
    allow(home, cameo)
    pictures = frames_of(render("a.mp4", options=AnimationOptions(crop_only=True), end_s=1.0).path).astype(float)
    change = np.abs(pictures[::6] - pictures[0]).mean(axis=(1, 2, 3))
    assert change.max() > 1.0


@pytest.mark.parametrize(
    ("output", "changes", "error"),
    [
        ("out.avi", {}, MediaError),
        ("missing/out.mp4", {}, MediaError),
        ("out.mp4", {"audio": "nowhere.wav"}, MediaError),
        ("out.mp4", {"start_s": 99.0, "end_s": None}, MediaError),
    ],
)
def test_requests_that_cannot_work_are_refused_early(render, home, cameo, tmp_path, output, changes, error):
    allow(home, cameo)
    with pytest.raises(error):
        render(output, **changes)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home"]


def test_clip_and_portrait_without_a_face(render, home, cameo, tmp_path):
    allow(home, cameo)
    write_image(tmp_path / "flat.png", np.full((256, 256, 3), 127, np.uint8))
    with pytest.raises(NoFaceFound):
        render(driving=tmp_path / "flat.png", end_s=None)
    with pytest.raises(NoFaceFound):
        render(portrait=tmp_path / "flat.png")
    assert not (tmp_path / "out.mp4").exists()


def test_start_and_end_do_not_go_with_motion_files(render, home, cameo, tmp_path):
    allow(home, cameo)
    (tmp_path / "m.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="motion file"):
        render(driving=tmp_path / "m.safetensors", end_s=1.0)
