"""Requests made from the service's own description, well-formed and not: no failure, no leak, no broken ledger."""

import json
import string
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from portrait_anim.consent.ledger import verify

from .conftest import ROLES

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
TEXTS = st.text(max_size=40) | st.sampled_from(
    ["' OR 1=1 --", "../../etc/passwd", "\x00", "a\nb", "2027-01-01T00:00:00Z", "any", "ada@example.org", "https://[::1]/"]
)


def values(schema, parts):
    """A strategy for values of a JSON schema as pydantic writes it."""
    if "$ref" in schema:
        return values(parts[schema["$ref"].rsplit("/", 1)[1]], parts)
    if "anyOf" in schema:
        return st.one_of([values(one, parts) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        fields = {name: values(one, parts) for name, one in schema.get("properties", {}).items()}
        needed = {name: fields.pop(name) for name in schema.get("required", []) if name in fields}
        return st.fixed_dictionaries(needed, optional=fields)
    if kind == "array":
        return st.lists(values(schema.get("items", {}), parts), max_size=4)
    simple = {
        "string": TEXTS, "integer": st.integers(-5, 10**7), "boolean": st.booleans(), "null": st.none(),
        "number": st.floats(-5, 1e8, allow_nan=False),
    }  # fmt: skip
    return simple.get(kind, ANYTHING)


def operations(app):
    document = app.openapi()
    parts = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation, parts


def requests(app, ids):
    """A strategy for requests: right in form, wrong in one thing, or wrong in all."""

    @st.composite
    def one(draw):
        method, path, operation, parts = draw(st.sampled_from(list(operations(app))))
        query = {}
        for parameter in operation.get("parameters", []):
            name = parameter["name"]
            if parameter["in"] == "path":
                known = [ids[name]] if name in ids else []
                text = draw(st.sampled_from([*known, "0" * 16]) | st.text(string.printable, min_size=1, max_size=30))
                path = path.replace("{" + name + "}", quote(text, safe=""))
            elif draw(st.booleans()):
                query[name] = str(draw(values(parameter["schema"], parts) | ANYTHING))
        content = operation.get("requestBody", {}).get("content", {})
        body = None
        if "application/json" in content:
            made = draw(values(content["application/json"]["schema"], parts) | ANYTHING)
            body = json.dumps(made)[: draw(st.sampled_from([10**6, 10**6, 5]))]
        elif content:
            body = draw(st.text(max_size=60))
        kind = draw(st.sampled_from(["application/json", "application/json", "multipart/form-data", "text/plain", ""]))
        return method, path, query, body, kind

    return one()


def fuzz(world, examples):
    seen = set()

    @settings(
        max_examples=examples, deadline=None, phases=[Phase.generate], derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(requests(world.app, world.ids), st.sampled_from(ROLES))
    def check(request, role):
        method, path, query, body, kind = request
        headers = {"content-type": kind} if kind and body is not None else {}
        got = clients[role].request(method, path, params=query, content=body, headers=headers)
        seen.add((method, got.status_code))
        assert got.status_code < 500, (request, got.text)
        if got.headers.get("content-type", "").startswith("application/json") and got.status_code >= 400:
            assert set(got.json()) == {"error"}
            assert {"reason", "message"} <= set(got.json()["error"])
        for secret in ("Traceback", "sqlite", "SELECT", str(world.store.home)):
            assert secret not in got.text
        if role in ("anonymous", "disabled", "expired") and not path.startswith(("/enrol", "/static")):
            assert got.status_code in (200, 401, 404, 405, 413, 422)
            assert world.ids["cameo_id"] not in got.text

    clients = {role: world.client(role) for role in ROLES}
    check()
    verify(world.store)
    return seen


def test_requests_of_any_form_are_answered(world):
    fuzz(world, 150)


@pytest.mark.slow
def test_many_requests_of_any_form_are_answered(world):
    seen = fuzz(world, 3000)
    # Whether something is made (201) is luck: it takes an operator, a well-formed body and its content type at once.
    assert {status for _, status in seen} >= {200, 401, 403, 404, 422}
