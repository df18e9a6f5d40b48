import itertools
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from portrait_anim.consent.policy import decide
from portrait_anim.consent.records import Cameo, Grant, RenderRequest, Usage
from portrait_anim.types import IdentityEmbedding

# Every condition of the rule, in the order in which refusals are reported.
CONDITIONS = (
    "no_cameo",
    "deleted",
    "portrait_mismatch",
    "denylisted",
    "no_grant",
    "wrong_grantee",
    "revoked",
    "expired",
    "wrong_purpose",
    "wrong_context",
    "not_acknowledged",
    "too_long",
    "used_up",
)


@pytest.fixture
def cameo(now, someone, digest):
    return Cameo(id="cam_1", name="Ada", kind="real", portrait_digest=digest(1), portrait_embeddings=(someone(1),),
                 video_embeddings=(someone(1),), created=now, owner_account="acc_ada")  # fmt: skip


@pytest.fixture
def grant(now):
    return Grant(
        id="gra_1",
        cameo_id="cam_1",
        grantee="operator",
        purpose="film",
        allowed_contexts=("animate",),
        created=now - timedelta(hours=1),
        expires=now + timedelta(hours=1),
        max_renders=2,
        max_seconds=10.0,
    )


@pytest.fixture
def request_(ask) -> RenderRequest:
    return ask("cam_1")


def case(wrong, level, *, cameo, grant, request, now, someone, digest):
    """A request with exactly these conditions broken, under a grant of this level, and what else `decide` is told."""
    person = replace(cameo, status="deleted") if "deleted" in wrong else cameo
    asked = replace(request, grantee={"owner": cameo.owner_account, "person": "operator", "everyone": "eve"}[level])
    given = replace(grant, level=level, grantee="operator" if level == "person" else "")
    used = Usage(renders=1, milliseconds=5000)
    if "portrait_mismatch" in wrong:
        asked = replace(asked, portrait_digest=digest(2), portrait_embedding=someone(2))
    if "wrong_grantee" in wrong:
        asked = replace(asked, grantee="" if level == "everyone" else "somebody else")
    if "wrong_purpose" in wrong:
        asked = replace(asked, purpose="advert")
    if "wrong_context" in wrong:
        asked = replace(asked, context="scene:other")
    if "too_long" in wrong:
        asked = replace(asked, duration_s=10.001)
    if "revoked" in wrong:
        given = replace(given, revoked_at=now)
    if "expired" in wrong:
        given = replace(given, expires=now)
    if "used_up" in wrong:
        used = Usage(renders=2, milliseconds=5000)
    return decide(
        asked,
        None if "no_cameo" in wrong else person,
        [] if "no_grant" in wrong else [given],
        now,
        {"gra_1": used},
        denylisted="denylisted" in wrong,
        acknowledged=() if "not_acknowledged" in wrong else ("gra_1",),
    )


@pytest.mark.parametrize("level", ["owner", "person", "everyone"])
def test_the_whole_truth_table(level, cameo, grant, request_, now, someone, digest):
    """All 2^13 combinations of broken conditions: allowed only if none is, else the first broken one is the reason."""
    count = 0
    grant = replace(grant, forbidden="No adverts")
    for broken in itertools.product([False, True], repeat=len(CONDITIONS)):
        wrong = {name for name, is_broken in zip(CONDITIONS, broken, strict=True) if is_broken}
        decision = case(
            wrong, level, cameo=cameo, grant=grant, request=request_, now=now, someone=someone, digest=digest
        )
        # The owner wrote what is forbidden: nobody has to confirm it.
        counted = wrong - {"not_acknowledged"} if level == "owner" else wrong
        expected = next((name for name in CONDITIONS if name in counted), "allowed")
        assert decision.reason == expected, wrong
        assert decision.allowed == (not counted)
        assert decision.explanation
        count += 1
    assert count == 8192


@pytest.mark.parametrize(
    ("level", "named", "asking", "allowed"),
    [
        ("owner", "", "acc_ada", True),
        ("owner", "", "operator", False),
        ("owner", "operator", "operator", False),  # a name beside the level opens nothing
        ("owner", "", "", False),
        ("person", "operator", "operator", True),
        ("person", "operator", "acc_ada", False),  # not even the owner, without a grant of that level
        ("person", "", "", False),
        ("person", "any", "eve", False),
        ("everyone", "", "eve", True),
        ("everyone", "", "acc_ada", True),
        ("everyone", "", "", False),
        ("all", "operator", "operator", False),  # a level that does not exist
    ],
)
def test_levels_open_a_cameo_for_whom_they_say(level, named, asking, allowed, cameo, grant, request_, now):
    given = replace(grant, level=level, grantee=named)
    decision = decide(replace(request_, grantee=asking), cameo, [given], now, {})
    assert decision.reason == ("allowed" if allowed else "wrong_grantee")


def test_a_cameo_without_an_owner_is_not_opened_by_a_blank_one(cameo, grant, request_, now):
    given, orphan = replace(grant, level="owner", grantee=""), replace(cameo, owner_account="")
    for asking in ("", "operator", "acc_ada"):
        assert decide(replace(request_, grantee=asking), orphan, [given], now, {}).reason == "wrong_grantee"


def test_what_is_forbidden_must_be_confirmed_for_this_grant(cameo, grant, request_, now):
    strict = replace(grant, forbidden="No adverts")
    assert decide(request_, cameo, [strict], now, {}).reason == "not_acknowledged"
    assert decide(request_, cameo, [strict], now, {}, acknowledged=["gra_2"]).reason == "not_acknowledged"
    assert decide(request_, cameo, [strict], now, {}, acknowledged=["gra_1"]).allowed
    assert decide(request_, cameo, [grant], now, {}).allowed  # nothing forbidden, nothing to confirm


def test_nothing_is_allowed_by_default(cameo, request_, now):
    assert decide(request_, cameo, [], now, {}).reason == "no_grant"
    assert decide(request_, None, [], now, {}).reason == "no_cameo"


@pytest.mark.parametrize("field", ["grantee", "purpose", "allowed_contexts"])
def test_an_empty_scope_allows_nothing(field, cameo, grant, request_, now):
    empty = replace(grant, **{field: () if field == "allowed_contexts" else ""})
    blank = replace(request_, grantee="", purpose="", context="")
    for asked in (request_, blank):
        assert not decide(asked, cameo, [empty], now, {}).allowed


def test_any_is_a_stated_wildcard(cameo, grant, request_, now):
    wide = replace(grant, purpose="any", allowed_contexts=("any",))
    assert decide(replace(request_, purpose="", context=""), cameo, [wide], now, {}).allowed
    assert not decide(replace(request_, purpose="", context=""), cameo, [grant], now, {}).allowed
    # The requester cannot bring the wildcard along.
    assert decide(replace(request_, purpose="any"), cameo, [grant], now, {}).reason == "wrong_purpose"
    assert decide(replace(request_, context="any"), cameo, [grant], now, {}).reason == "wrong_context"


def test_commercial_use_needs_a_commercial_grant(cameo, grant, request_, now):
    asked = replace(request_, commercial=True)
    assert decide(asked, cameo, [grant], now, {}).reason == "wrong_purpose"
    assert decide(asked, cameo, [replace(grant, commercial=True)], now, {}).allowed


@pytest.mark.parametrize(
    ("used", "length", "reason"),
    [
        (Usage(), 10.0, "allowed"),
        (Usage(), 10.001, "too_long"),
        (Usage(renders=1, milliseconds=8000), 2.0, "allowed"),
        (Usage(renders=1, milliseconds=8001), 2.0, "used_up"),
        (Usage(renders=2, milliseconds=0), 0.1, "used_up"),
    ],
)
def test_amounts_are_exact_at_their_limit(used, length, reason, cameo, grant, request_, now):
    asked = replace(request_, duration_s=length)
    assert decide(asked, cameo, [grant], now, {"gra_1": used}).reason == reason


def test_times_are_exact_at_their_limit(cameo, grant, request_, now):
    tick = timedelta(microseconds=1)
    assert decide(request_, cameo, [grant], grant.expires - tick, {}).allowed
    assert decide(request_, cameo, [grant], grant.expires, {}).reason == "expired"
    assert decide(request_, cameo, [grant], grant.created, {}).allowed
    assert decide(request_, cameo, [grant], grant.created - tick, {}).reason == "expired"
    with pytest.raises(ValueError, match="timezone"):
        decide(request_, cameo, [grant], now.replace(tzinfo=None), {})


def test_among_several_grants_any_good_one_allows_and_the_nearest_explains(cameo, grant, request_, now):
    revoked = replace(grant, id="gra_2", revoked_at=now)
    other = replace(grant, id="gra_3", grantee="somebody else")
    assert decide(request_, cameo, [other, revoked, grant], now, {}).grant_id == "gra_1"
    decision = decide(request_, cameo, [other, revoked], now, {})
    assert (decision.reason, decision.grant_id) == ("revoked", "gra_2")


def test_grants_of_another_cameo_do_not_count(cameo, grant, request_, now):
    assert decide(request_, cameo, [replace(grant, cameo_id="cam_2")], now, {}).reason == "no_grant"
    assert decide(request_, replace(cameo, id="cam_2"), [grant], now, {}).reason == "no_cameo"


def test_another_photo_of_the_same_person_is_allowed(cameo, grant, request_, now, someone, digest):
    other = replace(request_, portrait_digest=digest(9), portrait_embedding=someone(1, age=0.4))
    assert decide(other, cameo, [grant], now, {}).allowed
    assert decide(replace(other, portrait_embedding=someone(1, age=0.6)), cameo, [grant], now, {}).reason == (
        "portrait_mismatch"
    )
    assert decide(replace(other, portrait_embedding=None), cameo, [grant], now, {}).reason == "portrait_mismatch"


def test_what_cannot_be_compared_does_not_match(cameo, grant, request_, now, digest):
    face = IdentityEmbedding(vector=np.ones(512, np.float32), backend="arcface")
    asked = replace(request_, portrait_embedding=face)
    for picture in (request_.portrait_digest, digest(9)):
        assert decide(replace(asked, portrait_digest=picture), cameo, [grant], now, {}).reason == "portrait_mismatch"


def test_the_enrolled_picture_opens_only_the_face_that_was_enrolled(cameo, grant, request_, now, someone):
    """It may show two people, or somebody may call the gate without having measured a face."""
    assert decide(request_, cameo, [grant], now, {}).allowed
    for face in (someone(2), None):
        asked = replace(request_, portrait_embedding=face)
        for kind in ("real", "fictional"):
            assert decide(asked, replace(cameo, kind=kind), [grant], now, {}).reason == "portrait_mismatch"


def test_a_photo_mixed_of_two_people_opens_only_the_one_in_the_video(cameo, grant, request_, now, someone):
    first, second = someone(1), someone(2)
    mixed = replace(first, vector=(0.5 * first.vector + 0.5 * second.vector))
    enrolled = replace(cameo, portrait_embeddings=(mixed,), video_embeddings=(first,))
    for face, allowed in (
        (first, True),
        (second, False),
        (replace(second, vector=0.3 * first.vector + 0.7 * second.vector), False),
    ):
        asked = replace(request_, portrait_embedding=face)
        assert decide(asked, enrolled, [grant], now, {}).allowed == allowed


def test_no_order_of_faces_makes_a_photo_proof(cameo, grant, request_, now, someone):
    """Only what was measured in the video opens a real person's cameo, however many faces are known of each kind."""
    for portraits in ((someone(1), someone(2)), (someone(2), someone(1)), ()):
        for video in ((someone(2), someone(3)), (someone(3), someone(2))):
            enrolled = replace(cameo, portrait_embeddings=portraits, video_embeddings=video)
            assert not decide(request_, enrolled, [grant], now, {}).allowed
            assert decide(replace(request_, portrait_embedding=someone(3)), enrolled, [grant], now, {}).allowed
    unproven = replace(cameo, portrait_embeddings=(someone(1),), video_embeddings=())
    assert decide(request_, unproven, [grant], now, {}).reason == "portrait_mismatch"


def test_a_fictional_cameo_never_shows_an_enrolled_person(cameo, grant, request_, now, someone):
    figure = replace(cameo, kind="fictional", statement="drawn")
    lookalike = replace(cameo, id="cam_2", portrait_embeddings=(someone(1, age=0.3),))
    stranger = replace(cameo, id="cam_3", portrait_embeddings=(someone(5),), video_embeddings=())
    assert decide(request_, figure, [grant], now, {}, protected=[stranger]).allowed
    assert decide(request_, figure, [grant], now, {}, protected=[stranger, lookalike]).reason == "portrait_mismatch"
    gone = replace(lookalike, status="deleted", portrait_embeddings=(), video_embeddings=())
    assert decide(request_, figure, [grant], now, {}, protected=[gone]).allowed


@pytest.mark.parametrize("length", [0.0, -1.0, float("nan"), float("inf")])
def test_a_length_that_cannot_be_counted_is_refused(length, ask):
    with pytest.raises(ValueError, match="length"):
        ask("cam_1", duration_s=length)
