"""Every role against every route: what each may do is written here, and a route without an entry fails."""

import pytest
from fastapi.routing import APIRoute

from portrait_anim.consent.links import create_link

from .conftest import NOW, ROLES

ALL = dict.fromkeys(ROLES, 200)


def only(ok: int = 200, *allowed: str, forbidden: int = 404) -> dict[str, int]:
    """Status by role: `ok` for those allowed, 401 without a token that holds, `forbidden` for the rest."""
    table = {role: forbidden for role in ROLES}
    table |= dict.fromkeys(("anonymous", "disabled", "expired"), 401)
    return table | dict.fromkeys(allowed, ok)


# The thing named in the address is Ada's ("owner"), or for Carl ("grantee"); workers have no business with either.
OWNERS = only(200, "owner") | {"worker": 403}
PEOPLE = only(200, "owner", "other_owner", "grantee", "other_grantee", "operator") | {"worker": 403}
OPERATORS = only(200, "operator", forbidden=403)

MATRIX = {
    ("GET", "/"): ALL,
    ("GET", "/static/{name}"): ALL,
    ("GET", "/health"): ALL,
    ("GET", "/withdrawals"): ALL,
    ("GET", "/enrol/{link}"): ALL,
    ("POST", "/enrol/{link}/start"): dict.fromkeys(ROLES, 403),  # no form of ours
    ("POST", "/enrol/{link}/answer"): dict.fromkeys(ROLES, 403),
    ("GET", "/me"): only(200, *(role for role in ROLES if role not in ("anonymous", "disabled", "expired"))),
    ("GET", "/cameos"): PEOPLE,
    ("GET", "/cameos/{cameo_id}"): OWNERS,
    ("DELETE", "/cameos/{cameo_id}"): OWNERS,
    ("GET", "/cameos/{cameo_id}/export"): OWNERS,
    ("GET", "/cameos/{cameo_id}/grants"): OWNERS,
    ("POST", "/cameos/{cameo_id}/grants"): OWNERS | {"owner": 201},
    ("POST", "/grants/{grant_id}/revoke"): OWNERS,
    ("GET", "/cameos/{cameo_id}/uses"): OWNERS,
    ("POST", "/uses/{use_id}/read"): OWNERS,
    ("GET", "/uses/{use_id}/thumbnail"): OWNERS,
    ("POST", "/permits/{permit_id}/withdraw"): OWNERS,
    ("GET", "/cameos/{cameo_id}/contact"): OWNERS,
    ("PUT", "/cameos/{cameo_id}/contact"): OWNERS,
    ("GET", "/grants"): PEOPLE,
    ("GET", "/grants/{grant_id}"): only(200, "grantee") | {"worker": 403},
    ("POST", "/grants/{grant_id}/acknowledge"): only(200, "grantee") | {"worker": 403},
    ("GET", "/accounts"): OPERATORS,
    ("POST", "/accounts"): OPERATORS | {"operator": 201},
    ("POST", "/accounts/{account_id}/token"): OPERATORS,
    ("POST", "/accounts/{account_id}/disable"): OPERATORS,
    ("POST", "/links"): OPERATORS | {"operator": 201},
    ("GET", "/ledger"): OPERATORS,
    ("POST", "/permits/{permit_id}/check"): only(200, "worker", "operator", forbidden=403),
}

BODIES = {
    ("POST", "/cameos/{cameo_id}/grants"): {
        "level": "person", "grantee": "Dora", "purpose": "film", "allowed_contexts": ["animate"], "max_renders": 1,
        "max_seconds": 1, "expires": "2027-01-01T00:00:00Z",
    },
    ("POST", "/permits/{permit_id}/withdraw"): {"reason": "no"},
    ("PUT", "/cameos/{cameo_id}/contact"): {"email": "ada@example.org"},
    ("POST", "/accounts"): {"name": "Gil", "role": "grantee"},
    ("POST", "/links"): {"name": "Hana"},
}  # fmt: skip


def routes(app):
    found = []
    for route in flat(app.routes):
        if getattr(route, "path", "") == "/openapi.json":
            continue  # the description of the routes themselves, without data
        assert isinstance(route, APIRoute), f"a route of a kind that the matrix does not know: {route}"
        found += [(method, route.path) for method in sorted(route.methods)]
    return found


def flat(items):
    """Routes of the application; newer FastAPI versions keep included routers as one entry each."""
    for item in items:
        inner = getattr(getattr(item, "original_router", None), "routes", None)
        if inner is None:
            yield item
        else:
            yield from flat(inner)


def test_every_route_is_in_the_matrix(world):
    assert sorted(routes(world.app)) == sorted(MATRIX)
    assert len(MATRIX) * len(ROLES) >= 250


@pytest.mark.parametrize("role", ROLES)
def test_every_role_on_every_route(role, build):
    """Roles in turn on one world each; routes that end something come last, so that the others find it."""
    world = build()
    ending = ("revoke", "disable", "token", "withdraw")
    order = sorted(MATRIX, key=lambda route: (route[0] == "DELETE", route[1].endswith(ending)))
    _, link = create_link(world.store, name="Ivo", now=NOW)
    client, wrong = world.client(role), {}
    for method, path in order:
        address = path.format(**world.ids, link=link, name="style.css")
        got = client.request(method, address, json=BODIES.get((method, path))).status_code
        if got != MATRIX[method, path][role]:
            wrong[method, path] = (got, MATRIX[method, path][role])
    assert wrong == {}


@pytest.mark.parametrize("role", ["other_owner", "grantee", "other_grantee", "operator"])
def test_what_is_somebody_elses_looks_like_what_does_not_exist(role, world):
    """No IDOR, and no oracle: the answers do not differ in anything but the id that was asked for."""
    client = world.client(role)
    for method, path in MATRIX:
        if "{" not in path or path.startswith(("/enrol", "/static", "/accounts", "/permits/{permit_id}/check")):
            continue
        if role == "grantee" and path.startswith("/grants/{grant_id}") and not path.endswith("revoke"):
            continue
        none = {key: f"{value[:4]}{'0' * 16}" for key, value in world.ids.items()}
        body = BODIES.get((method, path))
        theirs = client.request(method, path.format(**world.ids), json=body)
        absent = client.request(method, path.format(**none), json=body)
        assert (theirs.status_code, theirs.json()) == (absent.status_code, absent.json()), path
        assert theirs.status_code == 404
