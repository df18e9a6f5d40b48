"""What the processes of `test_killed.py` do until they are killed."""

import hashlib
import os
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from portrait_anim.consent.grants import grant, revoke
from portrait_anim.consent.permit import authorise
from portrait_anim.consent.records import RenderRequest
from portrait_anim.consent.registry import delete_cameo, enroll_fictional
from portrait_anim.consent.renders import record_render
from portrait_anim.consent.rotation import rotate
from portrait_anim.consent.store import open_store
from portrait_anim.errors import ConsentDenied
from portrait_anim.types import IdentityEmbedding

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)


def invented(number: int) -> IdentityEmbedding:
    vector = np.random.default_rng(number).normal(size=128) * 0.05
    return IdentityEmbedding(vector=vector.astype(np.float32), backend="dlib")


class Worker:
    """Enrols, grants, renders, revokes, deletes and changes keys at random, and says what was confirmed to it."""

    def __init__(self, home: Path, seed: int, acknowledge) -> None:
        self.store = open_store(home)
        self.outputs = home / "outputs"
        self.random = random.Random(seed)
        self.acknowledge = acknowledge
        self.cameos: list[tuple[str, int]] = []
        self.grants: list[tuple[str, int]] = []

    def enrol(self) -> None:
        number = self.random.getrandbits(40)
        cameo = enroll_fictional(
            self.store, name=f"Figure {number}", statement="Invented.", portrait_embedding=invented(number),
            portrait_digest=f"{number:064x}", now=NOW,
        )  # fmt: skip
        self.acknowledge(("enrol", cameo.id))
        self.cameos.append((cameo.id, number))

    def grant(self) -> None:
        cameo, number = self.random.choice(self.cameos)
        given = grant(
            self.store, cameo, grantee="operator", purpose="film", allowed_contexts=["animate"],
            expires=NOW + timedelta(days=1), max_renders=1000, max_seconds=10_000.0, now=NOW,
        )  # fmt: skip
        self.acknowledge(("grant", given.id))
        self.grants.append((cameo, number))

    def render(self) -> None:
        cameo, number = self.random.choice(self.grants)
        request = RenderRequest(
            cameo_id=cameo, portrait_digest=f"{number:064x}", portrait_embedding=invented(number),
            grantee="operator", purpose="film", context="animate", duration_s=1.0, profile="lite",
        )  # fmt: skip
        permit = authorise(self.store, request, now=NOW)
        content = os.urandom(2000)
        hidden = self.outputs / f".{permit.id}"
        hidden.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        record_render(self.store, permit, output_digest=digest, duration_s=1.0, num_frames=25, now=NOW)
        os.replace(hidden, self.outputs / permit.id)  # the file appears only once it is recorded
        self.acknowledge(("render", permit.id))

    def revoke(self) -> None:
        from portrait_anim.consent.grants import list_grants

        cameo, _ = self.random.choice(self.grants)
        for given in list_grants(self.store, cameo):
            if given.revoked_at is None:
                revoke(self.store, given.id, NOW)
                self.acknowledge(("revoke", given.id))
                return

    def delete(self) -> None:
        cameo, number = self.cameos.pop(self.random.randrange(len(self.cameos)))
        self.grants = [one for one in self.grants if one != (cameo, number)]
        delete_cameo(self.store, cameo, now=NOW)
        self.acknowledge(("delete", cameo))

    def rotate(self) -> None:
        self.acknowledge(("rotate", str(rotate(self.store, now=NOW).version)))

    def live(self) -> None:
        while True:
            self.enrol()
            for _ in range(6):
                steps = [self.grant, self.revoke, self.render, self.render, self.delete, self.rotate]
                step = self.random.choices(steps, weights=[6, 6, 6, 6, 1, 1])[0]
                if self.cameos and (self.grants or step == self.grant):
                    try:
                        step()
                    except ConsentDenied as denied:  # revoked or deleted before
                        assert denied.reason in ("revoked", "no_grant", "deleted")  # noqa: PT017


def live(home: Path, seed: int, pipe) -> None:
    """Entry of a process: work until killed."""
    Worker(home, seed, pipe.send).live()
