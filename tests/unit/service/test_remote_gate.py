"""A worker on another machine: the real client against the real service over a socket."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import uvicorn

from portrait_anim.consent.grants import revoke
from portrait_anim.consent.remote import RemoteGate
from portrait_anim.errors import ConsentDenied, ConsentError

from .conftest import NOW, World


@pytest.fixture
def address(world: World) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(world.app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.02)
        assert thread.is_alive()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def test_a_remote_render_goes_on_until_its_permit_ends(world, address):
    gate = RemoteGate(address, world.tokens["worker"])
    for _ in range(3):
        gate.check(world.permit.id)
    revoke(world.store, world.ids["grant_id"], NOW)
    with pytest.raises(ConsentDenied) as caught:
        gate.check(world.permit.id)
    assert (caught.value.reason, caught.value.grant_id) == ("revoked", world.ids["grant_id"])


def test_whatever_is_no_clear_yes_is_a_no(world, address):
    for gate in (
        RemoteGate(address, "pa_9_x"),
        RemoteGate(address, world.tokens["owner"]),
        RemoteGate(address + "/elsewhere", world.tokens["worker"]),
    ):
        with pytest.raises(ConsentError):
            gate.check(world.permit.id)
    worker = RemoteGate(address, world.tokens["worker"])
    with pytest.raises(ConsentDenied, match="id of a permit"):
        worker.check("per_1/../../health")
    world.clock.move(timedelta(hours=13))
    with pytest.raises(ConsentDenied, match="expired"):
        worker.check(world.permit.id)
    assert world.tokens["worker"] not in repr(worker)


def test_a_service_that_cannot_be_reached_stops_the_render(world, address):
    gone = RemoteGate("http://127.0.0.1:9", world.tokens["worker"])
    with pytest.raises(ConsentError, match="stop"):
        gone.check(world.permit.id)
    for url in ("http://consent.example.org", "ftp://localhost", "localhost", ""):
        with pytest.raises(ValueError, match="https"):
            RemoteGate(url, "x")
