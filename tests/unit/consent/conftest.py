"""A parametric face that performs challenges, people as embeddings, and open stores."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from portrait_anim.consent.evidence import RecordingEvidence, SceneSamples
from portrait_anim.consent.records import Challenge, ChallengeAction, LivenessFrame, RenderRequest
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.types import IdentityEmbedding

from .databases import POSTGRES, Database, PostgresDatabase, SqliteDatabase

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)

# Places of the landmarks that are measured, in outer-eye distances: x to image right, y down, z away.
FEATURES = {
    10: (0, -0.62, -0.17), 151: (0, -0.44, -0.21), 9: (0, -0.25, -0.25), 168: (0, -0.06, -0.25),
    6: (0, 0.03, -0.30), 197: (0, 0.11, -0.36), 195: (0, 0.18, -0.42), 5: (0, 0.26, -0.49), 4: (0, 0.36, -0.53),
    1: (0, 0.44, -0.51), 2: (0, 0.52, -0.34), 152: (0, 1.30, -0.10),
    13: (0, 0.79, -0.27), 14: (0, 0.80, -0.27), 0: (0, 0.70, -0.33), 17: (0, 0.92, -0.28),
}  # fmt: skip
MIRRORED_FEATURES = {
    (33, 263): (0.50, 0.00, 0.00), (133, 362): (0.19, 0.02, -0.06), (98, 327): (0.20, 0.50, -0.24),
    (67, 297): (0.40, -0.58, -0.08), (109, 338): (0.21, -0.62, -0.15), (127, 356): (0.78, 0.09, 0.55),
    (468, 473): (0.345, 0.01, -0.09),
    (61, 291): (0.29, 0.79, -0.11), (159, 386): (0.36, -0.05, -0.09), (145, 374): (0.36, 0.045, -0.08),
    (160, 385): (0.42, -0.04, -0.07), (144, 380): (0.42, 0.04, -0.065), (158, 387): (0.30, -0.045, -0.09),
    (153, 373): (0.30, 0.045, -0.085), (70, 300): (0.64, -0.18, 0.02), (63, 293): (0.58, -0.25, -0.07),
    (105, 334): (0.47, -0.29, -0.14), (66, 296): (0.33, -0.29, -0.2), (107, 336): (0.17, -0.28, -0.24),
}  # fmt: skip
IRISES, EYE_WIDTH = (468, 473), 0.31
UPPER_LIDS, LOWER_LIDS = (159, 386, 160, 385, 158, 387), (145, 374, 144, 380, 153, 373)
BROWS = (70, 300, 63, 293, 105, 334, 66, 296, 107, 336)


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Head pose and expression; angles in degrees, the rest 0 (rest) to 1 (clear)."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    blink: float = 0.0
    mouth: float = 0.0
    smile: float = 0.0
    brows: float = 0.0
    x: float = 0.0
    gaze_right: float = 0.0
    gaze_up: float = 0.0


REST = Pose()
PEAKS = {
    "turn_left": Pose(yaw=28),
    "turn_right": Pose(yaw=-28),
    "look_up": Pose(pitch=18),
    "look_down": Pose(pitch=-18),
    "tilt": Pose(roll=20),
    "open_mouth": Pose(mouth=1),
    "smile": Pose(smile=1),
    "raise_brows": Pose(brows=1),
}


@cache
def neutral_points() -> np.ndarray:
    """`(478, 3)` points of the resting face in outer-eye distances."""
    angle, height = np.linspace(0, 40 * np.pi, 478), np.linspace(-0.9, 1.2, 478)
    points = np.stack([0.7 * np.sin(angle), height, 0.3 - 0.3 * np.cos(angle)], axis=1)
    for index, place in FEATURES.items():
        points[index] = place
    for (right, left), (x, y, z) in MIRRORED_FEATURES.items():
        points[right], points[left] = (-x, y, z), (x, y, z)
    return points


@cache
def face_points(pose: Pose) -> np.ndarray:
    """`(478, 3)` points of the posed face in outer-eye distances."""
    points = neutral_points().copy()
    for upper, lower in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
        points[upper] += pose.blink * 0.9 * (points[lower] - points[upper])
    points[[14, 17, 152], 1] += 0.35 * pose.mouth
    points[[61, 291], 0] *= 1 + 0.3 * pose.smile
    points[list(BROWS), 1] -= 0.07 * pose.brows
    points[list(IRISES), 0] -= pose.gaze_right / 143.0 * EYE_WIDTH
    points[list(IRISES), 1] -= pose.gaze_up / 143.0 * EYE_WIDTH
    yaw, pitch, roll = np.radians([pose.yaw, pose.pitch, pose.roll])
    if not (yaw or pitch or roll):
        return points + np.array([pose.x, 0, 0])
    about_y = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return points @ (about_y @ about_x @ about_z).T + [pose.x, 0, 0]


def person(seed: int, *, age: float = 0.0) -> IdentityEmbedding:
    """Somebody as the dlib backend sees them: strangers are about 0.8 apart, other pictures of one about `age`."""
    vector = np.random.default_rng(seed).normal(size=128) * 0.05
    other = np.random.default_rng(1000 + seed).normal(size=128)
    return IdentityEmbedding(vector=(vector + age * other / np.linalg.norm(other)).astype(np.float32), backend="dlib")


@dataclass(frozen=True, kw_only=True)
class Performance:
    """A recording of somebody performing actions, one after the other."""

    actions: Sequence[ChallengeAction]
    who: int = 1
    fps: float = 25.0
    rest_s: float = 0.8
    step_s: float = 1.2
    size: float = 1.0
    noise_px: float = 0.3
    pauses: dict[int, float] = field(default_factory=dict)

    def poses(self) -> list[Pose]:
        poses = [REST] * int(self.rest_s * self.fps)
        for number, action in enumerate(self.actions):
            poses += [REST] * int(self.pauses.get(number, 0.0) * self.fps)
            for i in range(int(self.step_s * self.fps)):
                phase = i / (self.step_s * self.fps)
                poses.append(self._pose(action, phase))
            poses += [REST] * int(self.rest_s * self.fps)
        return poses

    def _pose(self, action: ChallengeAction, phase: float) -> Pose:
        if action == "blink_twice":
            return Pose(blink=float(0.15 < phase < 0.3 or 0.6 < phase < 0.75))
        swell = self.size * min(1.0, 1.6 * np.sin(np.pi * phase))
        peak = PEAKS[action]
        return Pose(
            **{name: swell * getattr(peak, name) for name in ("yaw", "pitch", "roll", "mouth", "smile", "brows")}
        )

    def frames(self) -> list[LivenessFrame]:
        return film(self.poses(), who=self.who, fps=self.fps, noise_px=self.noise_px)


def film(
    poses: Sequence[Pose], *, who: int = 1, fps: float = 25.0, noise_px: float = 0.3, start_s: float = 0.0
) -> list[LivenessFrame]:
    """Frames of 640 x 480 px with the face at 150 px between the eyes, its identity measured every 0.4 s."""
    random = np.random.default_rng(7)
    frames = []
    for i, pose in enumerate(poses):
        points = face_points(pose) * 150.0 + [320.0, 200.0, 0.0]
        points = points + random.normal(size=points.shape) * noise_px
        sampled = i % max(1, round(0.4 * fps)) == 0 or i == len(poses) - 1
        face = person(who)
        noise = random.normal(size=128) * 0.012
        frames.append(
            LivenessFrame(
                time_s=start_s + i / fps,
                landmarks=points[:, :2],
                depth=points[:, 2] / 640.0,
                embedding=replace(face, vector=(face.vector + noise).astype(np.float32)) if sampled else None,
                image_size=(640, 480),
            )
        )
    return frames


def challenge_of(*actions: ChallengeAction) -> Challenge:
    return Challenge(
        id="cha_0",
        name="Ada",
        nonce="0" * 32,
        actions=actions,
        issued=NOW,
        expires=NOW + timedelta(minutes=10),
    )


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Where the store of a test is; on PostgreSQL as well when `make test-postgres` names a server."""
    home = tmp_path / "home"
    if getattr(request, "param", "sqlite") == "sqlite":
        yield SqliteDatabase(home)
        return
    with PostgresDatabase.made(os.environ[POSTGRES], home) as made:
        yield made


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" in metafunc.fixturenames and os.environ.get(POSTGRES):
        metafunc.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def store(database: Database) -> Iterator[ConsentStore]:
    with open_store(database.home) as opened:
        yield opened


@pytest.fixture
def sqlite_only(database: Database) -> None:
    if database.name != "sqlite":
        pytest.skip("about the files of SQLite")


@pytest.fixture
def tamper(database: Database) -> Callable[..., None]:
    """Write into the database as somebody with a plain database tool would, triggers removed."""
    return lambda store, *statements: database.execute(*statements)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def someone() -> Callable[..., IdentityEmbedding]:
    return person


@pytest.fixture
def perform() -> type[Performance]:
    return Performance


@pytest.fixture
def filmed() -> Callable[..., list[LivenessFrame]]:
    return film


@pytest.fixture
def pose() -> type[Pose]:
    return Pose


@pytest.fixture
def challenge() -> Callable[..., Challenge]:
    return challenge_of


@pytest.fixture
def camera() -> Callable[..., RecordingEvidence]:
    """Evidence of an honest recording by a camera, with changes."""

    def build(**changes: object) -> RecordingEvidence:
        time_s = np.arange(200) / 10.0
        scene = SceneSamples(
            time_s=time_s, change=np.full(200, 0.004), backdrop=np.zeros((200, 2)), seen=np.ones(200, bool)
        )
        honest = RecordingEvidence(
            sha256="c" * 64,
            recorded_at=NOW,
            marks=(),
            scene=scene,
            screen=1.4,
            picture_s=20.0,
            sound_s=None,
            heard=None,
            live_score=None,
        )
        return replace(honest, **changes)

    return build


@pytest.fixture
def digest() -> Callable[[int], str]:
    return lambda number: f"{number:064x}"


@pytest.fixture
def ask(digest: Callable[[int], str]) -> Callable[..., RenderRequest]:
    """A request that the grants of these tests allow, with changes."""

    def build(cameo_id: str, **changes: object) -> RenderRequest:
        request = RenderRequest(
            cameo_id=cameo_id,
            portrait_digest=digest(1),
            portrait_embedding=person(1),
            grantee="operator",
            purpose="film",
            context="animate",
            duration_s=2.0,
            profile="lite",
        )
        return replace(request, **changes)

    return build


@pytest.fixture
def fictional(store: ConsentStore, digest: Callable[[int], str]) -> str:
    from portrait_anim.consent.registry import enroll_fictional

    return enroll_fictional(
        store,
        name="Robin",
        statement="Drawn by a program; nobody looks like this.",
        portrait_embedding=person(1),
        portrait_digest=digest(1),
        now=NOW,
    ).id


@pytest.fixture
def give(store: ConsentStore) -> Callable[..., str]:
    """Give a grant with room for a few renders, and return its id."""
    from portrait_anim.consent.grants import grant

    def build(cameo_id: str, **changes: object) -> str:
        limits: dict[str, object] = {
            "grantee": "operator",
            "purpose": "film",
            "allowed_contexts": ["animate"],
            "expires": NOW + timedelta(days=1),
            "max_renders": 3,
            "max_seconds": 30.0,
            "now": NOW,
        }
        return grant(store, cameo_id, **{**limits, **changes}).id

    return build
