"""A running service with people in it: two owners, two grantees, an operator, a worker, and tokens that ended."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the service needs the extra [service]")

from fastapi import FastAPI
from fastapi.testclient import TestClient

from portrait_anim.consent.accounts import create_account, disable_account
from portrait_anim.consent.grants import grant
from portrait_anim.consent.inbox import add_thumbnail
from portrait_anim.consent.permit import RenderPermit, authorise
from portrait_anim.consent.records import Cameo, RenderRequest
from portrait_anim.consent.registry import enroll_fictional
from portrait_anim.consent.rows import put_cameo
from portrait_anim.consent.store import ConsentStore, open_store
from portrait_anim.service import ServiceSettings, create_app
from portrait_anim.types import IdentityEmbedding

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
ROLES = ("anonymous", "owner", "other_owner", "grantee", "other_grantee", "operator", "worker", "disabled", "expired")


class Clock:
    """Time that tests move."""

    def __init__(self) -> None:
        self.now, self.seconds = NOW, 0.0

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.seconds

    def move(self, by: timedelta) -> None:
        self.now += by
        self.seconds += by.total_seconds()


@dataclass
class World:
    """Everything that a test may need to name."""

    store: ConsentStore
    app: FastAPI
    clock: Clock
    tokens: dict[str, str]
    ids: dict[str, str]
    permit: RenderPermit
    portrait: IdentityEmbedding

    def client(self, role: str = "anonymous") -> TestClient:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role in self.tokens else {}
        return TestClient(self.app, base_url="https://consent.test", headers=headers, raise_server_exceptions=False)

    def request(self, **changes: Any) -> RenderRequest:
        asked = RenderRequest(
            cameo_id=self.ids["cameo_id"], portrait_digest="a1" * 32, portrait_embedding=self.portrait, grantee="Carl",
            purpose="film", context="animate", duration_s=2.0, profile="lite",
        )  # fmt: skip
        return replace(asked, **changes)


def face(seed: int) -> IdentityEmbedding:
    vector = np.random.default_rng(seed).normal(size=128).astype(np.float32) * 0.05
    return IdentityEmbedding(vector=vector, backend="dlib")


def own(store: ConsentStore, cameo: Cameo, account_id: str) -> None:
    with store.write() as connection:
        put_cameo(connection, store, replace(cameo, owner_account=account_id), new=False)


@pytest.fixture
def settings() -> ServiceSettings:
    return ServiceSettings(max_video_mb=1, max_portrait_mb=1, burst=100_000)


@pytest.fixture
def build(tmp_path: Path, settings: ServiceSettings) -> Iterator[Callable[[], World]]:
    stores = []

    def make() -> World:
        clock = Clock()
        store = open_store(tmp_path / f"home{len(stores)}")
        stores.append(store)
        people = {}
        for role, name, kind in (
            ("owner", "Ada", "owner"), ("other_owner", "Ben", "owner"), ("grantee", "Carl", "grantee"),
            ("other_grantee", "Dora", "grantee"), ("operator", "Olga", "operator"), ("worker", "machine 1", "worker"),
            ("disabled", "Eve", "operator"),
        ):  # fmt: skip
            people[role] = create_account(store, name=name, role=kind, now=NOW)
        tokens = {role: token for role, (_, token) in people.items()}
        _, tokens["expired"] = create_account(
            store, name="Finn", role="operator", now=NOW - timedelta(days=2), lifetime=timedelta(days=1)
        )
        disable_account(store, people["disabled"][0].id, NOW)
        ids = {}
        for role, name, seed in (("owner", "cameo_id", 1), ("other_owner", "other_cameo_id", 2)):
            cameo = enroll_fictional(
                store, name=people[role][0].name, statement="Drawn.", portrait_embedding=face(seed),
                portrait_digest=f"a{seed}" * 32, now=NOW,
            )  # fmt: skip
            own(store, cameo, people[role][0].id)
            ids[name] = cameo.id
        given = grant(
            store, ids["cameo_id"], grantee="Carl", purpose="film", allowed_contexts=["animate"],
            expires=NOW + timedelta(days=1), max_renders=5, max_seconds=30, now=NOW, label_size="medium",
        )  # fmt: skip
        app = create_app(store, settings=settings, clock=clock, monotonic=clock.monotonic)
        ids |= {"grant_id": given.id, "account_id": people["other_grantee"][0].id}
        made = World(store, app, clock, tokens, ids, None, face(1))  # type: ignore[arg-type]
        made.permit = authorise(store, made.request(), now=NOW)
        use = add_thumbnail(store, made.permit.id, png())
        assert use is not None
        ids |= {"permit_id": made.permit.id, "use_id": use.id}
        return made

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def world(build: Callable[[], World]) -> World:
    return build()


def png() -> bytes:
    import io

    from PIL import Image

    made = io.BytesIO()
    Image.new("RGB", (64, 48), (120, 90, 60)).save(made, "PNG")
    return made.getvalue()


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
