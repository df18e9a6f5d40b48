"""`portrait_anim.verify`: files together with what the consent store knows.

Permits, marks and signatures are real; the pictures are not rendered but taken from a sample clip.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import portrait_anim
from portrait_anim.consent import permit as gate
from portrait_anim.consent import renders
from portrait_anim.consent.grants import grant, revoke
from portrait_anim.consent.permit import RenderPermit
from portrait_anim.consent.records import RenderRequest
from portrait_anim.consent.registry import delete_cameo
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.consent.withdrawal import withdraw
from portrait_anim.enrolment import enroll_fictional_from_file
from portrait_anim.errors import MediaError, ProvenanceError, SourceRefused
from portrait_anim.media.image import pixel_digest, read_image, resize, write_image
from portrait_anim.media.reader import VideoReader
from portrait_anim.media.writer import VideoWriter
from portrait_anim.provenance.fingerprint import fingerprint_image
from portrait_anim.provenance.index import INDEX_FILE
from portrait_anim.provenance.label import Labeller
from portrait_anim.provenance.manifest import sign_file
from portrait_anim.provenance.settings import LabelSettings
from portrait_anim.provenance.verify import manifest_of
from portrait_anim.publishing import FrameMarker, Published, check_sources, make_claims, remember, sign_and_check
from portrait_anim.types import UInt8Array
from portrait_anim.verification import LedgerFacts, list_files, verify, verify_all

SAMPLES = Path(__file__).parents[2] / "demo" / "samples"
SIDE = 320
FPS = Fraction(25)


@dataclass(frozen=True, kw_only=True)
class World:
    """An installation with one published clip."""

    home: Path
    clip: Path
    permit: RenderPermit
    published: Published


def frames() -> list[UInt8Array]:
    with VideoReader(SAMPLES / "driving_b.mp4", end_s=1.0) as reader:
        return [resize(frame.image, SIDE) for frame in reader]


def permission(store: ConsentStore, now: datetime) -> RenderPermit:
    portrait = SAMPLES / "portrait_b.jpg"
    cameo = enroll_fictional_from_file(store, portrait=portrait, name="B", statement="Does not exist.", now=now)
    grant(
        store, cameo.id, grantee="operator", purpose="test", allowed_contexts=["animate"], expires=now + timedelta(1),
        max_renders=5, max_seconds=60, now=now,
    )  # fmt: skip
    request = RenderRequest(
        cameo_id=cameo.id, portrait_digest=pixel_digest(read_image(portrait)),
        portrait_embedding=cameo.embeddings[0], grantee="operator", purpose="test", context="animate",
        duration_s=2.0, profile="lite",
    )  # fmt: skip
    return gate.authorise(store, request, now=now)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Made once; each test works on a copy of the home."""
    folder = tmp_path_factory.mktemp("world")
    home, now = folder / "home", datetime.now(timezone.utc)
    with open_store(home) as store:
        permit = permission(store, now)
        marker = FrameMarker((SIDE, SIDE), permit=permit, label=LabelSettings())
        with VideoWriter(folder / "draft.mp4", fps=FPS, size=(SIDE, SIDE)) as video:
            for index, image in enumerate(frames()):
                video.write(marker.mark(image, index / 25))
        claims = make_claims(store, permit, seed=3, portrait_sha256="0" * 64, driver_sha256="1" * 64, now=now)
        published = sign_and_check(folder / "draft.mp4", folder / "clip.mp4", claims=claims, home=home)
        renders.record_render(
            store, permit, output_digest=published.sha256, duration_s=1.0, num_frames=25, now=now,
            output=folder / "elsewhere.mp4",
        )  # fmt: skip
        remember(home, published)
    return World(home=home, clip=folder / "clip.mp4", permit=permit, published=published)

    return Fraction(25)


@pytest.fixture
def world(original: World, tmp_path: Path) -> World:
    shutil.copytree(original.home, tmp_path / "home")
    shutil.copy(original.clip, tmp_path / "clip.mp4")
    return replace(original, home=tmp_path / "home", clip=tmp_path / "clip.mp4")


def remuxed(source: Path, target: Path) -> Path:
    """Copy the streams without decoding them, as any tool does that does not know manifests."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                writer.mux(packet)
    return target


def test_a_published_clip_is_known_in_every_way(world: World) -> None:
    report = verify(world.clip, home=world.home)
    assert report.ok, report.findings
    assert report.mark is not None
    assert world.permit.id.startswith(report.mark.permit_prefix)
    assert report.render is not None
    assert (report.render.permit_id, report.render.consent) == (world.permit.id, "standing")
    assert report.render.rendered is not None
    assert not report.only_mark
    assert report.claims["soft_bindings"] == [["org.portrait-anim.watermark.1", report.mark.permit_prefix[4:]]]
    assert report.claims["consent"]["permit"]["signature"] == world.permit.signature.hex()


def test_manifest_lists_what_was_done_and_what_went_in(world: World) -> None:
    store = json.loads(world.published.entry.manifest)
    manifest = store["manifests"][store["active_manifest"]]
    actions = next(item for item in manifest["assertions"] if item["label"] == "c2pa.actions.v2")["data"]["actions"]
    assert [action["action"] for action in actions] == ["c2pa.created", "c2pa.edited", "c2pa.watermarked.bound"]
    assert len(actions[0]["parameters"]["ingredients"]) == 2
    ingredients = {item["title"]: item["instance_id"] for item in manifest["ingredients"]}
    assert ingredients == {"source portrait": "sha256:" + "0" * 64, "source driver": "sha256:" + "1" * 64}
    assert all("thumbnail" not in item for item in manifest["ingredients"])


def test_stripped_copy_is_found_by_its_mark(world: World, tmp_path: Path) -> None:
    report = verify(remuxed(world.clip, tmp_path / "stripped.mp4"), home=world.home)
    assert (report.state, report.ok, report.only_mark) == ("unsigned", False, True)
    assert report.recovery is not None
    assert report.recovery.by == "watermark"
    assert report.recovery.sha256 == world.published.sha256
    assert report.render is not None
    assert report.render.permit_id == world.permit.id
    assert "manifests" in manifest_of(report.recovery)


def test_copy_without_mark_is_found_by_its_looks(world: World, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    with VideoWriter(copy, fps=FPS, size=(SIDE // 2, SIDE // 2), crf=34) as video:
        labeller = Labeller((SIDE, SIDE))
        for index, image in enumerate(frames()[3:], 3):
            shown = labeller.draw(image, index / 25)
            video.write(resize(np.ascontiguousarray(shown[:, ::-1]), SIDE // 2))
    report = verify(copy, home=world.home, mark_budget_s=0.2)
    assert report.mark is None
    assert report.recovery is not None
    assert report.recovery.by == "fingerprint"
    assert 0.8 < report.recovery.similarity < 1
    assert report.render is not None
    assert report.render.permit_id == world.permit.id
    assert any("The original is known here" in finding for finding in report.findings)


def test_a_still_is_found_and_the_portrait_behind_it_is_not_claimed(world: World, tmp_path: Path) -> None:
    pictures = frames()
    draft = tmp_path / "still.png"
    write_image(draft, Labeller((SIDE, SIDE)).draw(pictures[12], 12 / 25))
    # The published clip does not say what its portrait looks like: a still is not claimed then.
    assert verify(draft, home=world.home, mark_budget_s=0.1).recovery is None
    entry = replace(world.published.entry, source=fingerprint_image(pictures[0]))
    remember(world.home, replace(world.published, entry=entry))
    found = verify(draft, home=world.home, mark_budget_s=0.1).recovery
    assert found is not None
    assert found.sha256 == world.published.sha256
    write_image(tmp_path / "portrait.jpg", pictures[0])
    assert verify(tmp_path / "portrait.jpg", home=world.home, mark_budget_s=0.1).recovery is None


def test_altered_copy_is_found_too(world: World, tmp_path: Path) -> None:
    data = bytearray(world.clip.read_bytes())
    data[-20] ^= 4  # in the last frame: what is seen hardly changes
    (tmp_path / "altered.mp4").write_bytes(data)
    report = verify(tmp_path / "altered.mp4", home=world.home)
    assert (report.state, report.ok) == ("invalid", False)
    assert report.recovery is not None


def test_consent_that_ended_is_a_doubt(world: World) -> None:
    now = datetime.now(timezone.utc)
    with open_store(world.home) as store:
        revoke(store, world.permit.grant_id, now)
    report = verify(world.clip, home=world.home, mark_budget_s=0)
    assert (report.state, report.trusted, report.ok) == ("valid", True, False)
    assert any("revoked" in finding for finding in report.findings)
    with open_store(world.home) as store:
        withdraw(store, world.permit.id, now)
    report = verify(world.clip, home=world.home, mark_budget_s=0)
    assert report.render is not None
    assert report.render.consent == "withdrawn"
    assert any("revocation list" in finding for finding in report.findings)


def test_deleted_cameo_is_a_doubt(world: World) -> None:
    with open_store(world.home) as store:
        delete_cameo(store, world.permit.cameo_id, now=datetime.now(timezone.utc))
    report = verify(world.clip, home=world.home, mark_budget_s=0)
    assert report.render is not None
    assert (report.render.consent, report.ok) == ("deleted", False)


def test_permit_of_another_operator_or_changed_is_found(world: World, tmp_path: Path) -> None:
    with open_store(world.home) as store:
        facts = LedgerFacts(store)
        claims = make_claims(
            store, world.permit, seed=3, portrait_sha256="0" * 64, driver_sha256=None, now=datetime.now(timezone.utc)
        )
    assert claims.permit is not None
    forged = replace(claims, permit=replace(claims.permit, max_ms=10**9))
    sign_file(world.clip.with_name("clip.mp4"), tmp_path / "forged.mp4", claims=forged, home=world.home)
    report = verify(tmp_path / "forged.mp4", home=world.home, mark_budget_s=0)
    assert (report.trusted, report.ok) == (True, False)
    assert any("not signed by this operator" in finding for finding in report.findings)
    assert facts.proof_holds({}) is None
    assert facts.proof_holds({"permit": {"signature": 3}}) is False


def test_mark_of_another_render_is_found(world: World, tmp_path: Path) -> None:
    with open_store(world.home) as store:
        claims = make_claims(
            store, world.permit, seed=3, portrait_sha256="0" * 64, driver_sha256=None, now=datetime.now(timezone.utc)
        )
    other = replace(claims, watermark=0x123456789ABC)
    sign_file(world.clip, tmp_path / "mixed.mp4", claims=other, home=world.home)
    report = verify(tmp_path / "mixed.mp4", home=world.home)
    assert not report.ok
    assert any("do not belong" in finding for finding in report.findings)


def test_another_installation_knows_nothing_but_reads_the_mark(world: World, tmp_path: Path) -> None:
    report = verify(world.clip, home=tmp_path / "other")
    assert (report.state, report.trusted, report.ok, report.render) == ("valid", False, False, None)
    assert report.mark is not None
    assert not (tmp_path / "other").exists()
    with open_store(tmp_path / "third"):
        pass
    report = verify(world.clip, home=tmp_path / "third", mark_budget_s=0)
    assert any("does not know the render" in finding for finding in report.findings)


def test_finding_takes_no_pattern_and_no_short_prefix(world: World) -> None:
    with open_store(world.home) as store:
        facts = LedgerFacts(store)
        assert facts.find(world.permit.id[:16]) is not None
        for strange in ("", "per_", "per_%%%%%%%%%%%%", "per_____________", world.permit.id + "0", "x" * 5000):
            assert facts.find(strange) is None


def test_batch_reports_every_file_with_progress(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    shutil.copy(world.clip, folder / "below" / "clip.mp4")
    (folder / "notes.txt").write_text("hello")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / ".hidden").write_text("x")
    files = list_files(folder)
    assert [file.name for file in files] == ["clip.mp4", "empty.mp4", "notes.txt"]
    told: list[tuple[int, int | None]] = []
    reports = dict(
        verify_all(files, home=world.home, mark_budget_s=0.2, on_progress=lambda p: told.append((p.done, p.total)))
    )
    assert [report.ok for report in reports.values()] == [True, False, False]
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(MediaError, match="empty folder"):
        list_files(tmp_path / "nothing")
    gone = [folder / "gone.mp4", world.clip]
    assert [report.state for _, report in verify_all(gone, home=world.home, mark_budget_s=0)] == ["unsigned", "valid"]


def test_damaged_index_is_a_typed_error(world: World, tmp_path: Path) -> None:
    (world.home / INDEX_FILE).write_bytes(b"damaged" * 1000)
    with pytest.raises(ProvenanceError, match="index of published files"):
        verify(remuxed(world.clip, tmp_path / "stripped.mp4"), home=world.home)


def test_own_render_may_be_a_source_of_its_cameo_only(world: World, tmp_path: Path) -> None:
    stripped = remuxed(world.clip, tmp_path / "stripped.mp4")
    with open_store(world.home) as store:
        check_sources(store, [stripped, world.clip], world.permit.cameo_id)
        for path in (stripped, world.clip):
            with pytest.raises(SourceRefused, match=world.permit.cameo_id):
                check_sources(store, [path], "cam_ffffffffffffffff")


def test_label_is_as_large_as_the_grant_or_the_operator_asks(world: World) -> None:
    small, medium = (
        FrameMarker((SIDE, SIDE), permit=world.permit, label=LabelSettings(smallest=size)).labeller.pill_size
        for size in ("small", "medium")
    )
    assert world.permit.label_size == "small"
    assert small[0] < medium[0]


def test_pictures_are_published_the_same_way(world: World, tmp_path: Path) -> None:
    image = read_image(SAMPLES / "portrait_b.jpg")
    marker = FrameMarker((image.shape[1], image.shape[0]), permit=world.permit, label=LabelSettings())
    write_image(tmp_path / "draft.png", marker.mark(image, 0.0))
    with open_store(world.home) as store:
        claims = make_claims(
            store, world.permit, seed=3, portrait_sha256="0" * 64, driver_sha256=None, now=datetime.now(timezone.utc)
        )
    published = sign_and_check(tmp_path / "draft.png", tmp_path / "out.png", claims=claims, home=world.home)
    remember(world.home, published)
    write_image(tmp_path / "again.jpg", read_image(tmp_path / "out.png"))
    report = verify(tmp_path / "again.jpg", home=world.home)
    assert report.only_mark
    assert report.recovery is not None


def test_public_name_is_this_one() -> None:
    assert portrait_anim.verify is verify
