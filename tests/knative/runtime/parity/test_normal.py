"""What is compared of an answer: not what is an installation's own, and all that is not."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from knative.runtime.parity.difference import Difference, differences, lines
from knative.runtime.parity.normal import Names, Own, Seen, Told, normalised
from knative.runtime.parity.scenario import Step

OWN = Own("https://shop.example", "/prod", "1a2b3c4d")
STEP = Step("read", "GET /orders/{order_id}")

ids = st.uuids().map(str)
times = st.datetimes().map(lambda one: one.isoformat(timespec="seconds") + "Z")
texts = st.one_of(
    st.text(max_size=20),
    ids,
    times,
    st.builds("/orders/?after={}&limit=2".format, ids),
    st.builds("parity-{}-ada".format, st.sampled_from([OWN.run, "someone"])),
    st.sampled_from(["https://shop.example/prod/orders/1", "/prod/orders/", "/prodder", "eyJh.eyJz.c2ln"]),
)
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)),
    max_leaves=12,
)


def told(body: Any, own: Own = OWN, step: Step = STEP, status: int = 200, **headers: str) -> Told:
    """One answer as it is compared."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return normalised([Seen(step, status, named, body)], own)[0]


@given(documents)
def test_a_second_time_changes_nothing(document: Any) -> None:
    """What is normal stays as it is."""
    once = Names(OWN).document(document)

    assert Names(OWN).document(once) == once


@given(documents)
def test_the_same_answers_do_not_differ(document: Any) -> None:
    """From one installation or from two."""
    assert differences([told(document)], [told(document)]) == []


@given(documents, documents)
def test_no_difference_is_lost(one: Any, other: Any) -> None:
    """Where two normal bodies are not equal, something is told; where they are, nothing is."""
    expected, got = told(one), told(other)

    assert (differences([expected], [got]) == []) == (json.dumps(expected.body) == json.dumps(got.body))


@given(st.lists(ids, max_size=8), st.uuids().map(lambda one: one.int))
def test_another_installations_ids_are_the_same_where_they_repeat(found: list[str], mask: int) -> None:
    """Every id replaced by another, one to one: no difference."""
    others = [str(UUID(int=UUID(one).int ^ mask)) for one in found]

    assert told(found).body == told(others).body


@given(ids, ids)
def test_an_id_that_comes_back_as_another_shows(one: str, other: str) -> None:
    """An answer with one id twice is not one with two."""
    assert (told([one, one]).body == told([one, other]).body) == (one == other)


def test_ids_keep_their_numbers_through_a_scenario() -> None:
    """In bodies, headers and paths, in any case, from the first answer to the last."""
    one, other = "01a21275-0ddc-78a9-9d2e-5c03f915af09", "01a21275-0ddc-78a9-9d2e-5c03f915af0a"
    placed = Seen(STEP, 202, {"location": f"/prod/orders/{one}"}, {"order_id": one})
    listed = Seen(
        STEP, 200, {}, {"items": [other, one.upper()], "next": f"https://shop.example/prod/orders/?after={one}"}
    )

    first, second = normalised([placed, listed], OWN)

    assert first.headers == {"location": "/orders/<id 1>"}
    assert second.body == {"items": ["<id 2>", "<id 1>"], "next": "/orders/?after=<id 1>"}


def test_headers_are_the_apis_alone() -> None:
    """Order, case, charset, weakness of a tag and whoever stands on the way make no difference; CORS does."""
    plain = told(
        "", etag='"1"', cache_control="private, no-cache", vary="authorization", content_type="application/json"
    )
    proxied = told(
        "",
        etag='W/"1"',
        cache_control="No-Cache,private",
        vary="Accept-Encoding, Authorization",
        content_type='application/json; charset="UTF-8"',
        server="CloudFront",
        via="2.0 x",
        x_envoy_upstream_service_time="3",
        apigw_requestid="x",
        date="now",
        set_cookie="AWSALB=1",
    )

    assert plain.headers == proxied.headers
    assert set(told("", access_control_allow_origin="*").headers) == {"access-control-allow-origin"}
    assert told("", vary="accept-encoding", content_encoding="gzip").headers["vary"] == "accept-encoding"


def test_a_tag_is_compared_for_being_the_same_at_one_path() -> None:
    """Numbers by path and value: two versions of one order differ, whatever an installation calls versions."""
    tags = [Seen(STEP, 200, {"etag": tag}) for tag in ('"1"', '"1"', '"2"')]

    assert [one.headers["etag"] for one in normalised(tags, OWN)] == ["<tag 1>", "<tag 1>", "<tag 2>"]


def test_only_what_is_asked_for_is_compared() -> None:
    """Parts of a body, or the status alone; of an error, which has none of the parts, everything."""
    part = Step("read", "GET /", only=("/items/*/id", "/state"), mask=("/state",), number=("/items/*/id",))
    status = Step("read", "GET /", only="status", either=(404, 405))

    assert told({"items": [{"id": 7, "at": 1}, {"id": 7}], "state": "x", "more": 1}, step=part).body == {
        "/items/*/id": "<value 1>",
        "/state": "<any>",
    }
    assert told({"detail": "no"}, step=part).body == {"detail": "no"}
    assert told("whatever", step=status, status=405, allow="GET") == Told("read", "GET /", "404 or 405", {}, "")
    assert told("whatever", step=status, status=500).status == 500


def test_where_it_differs_is_a_json_pointer() -> None:
    """With RFC 6901's escapes; a long value is cut, after it was compared."""
    expected, got = told({"a/b": [1, {"c~d": "x" * 300}]}), told({"a/b": [1, {"c~d": "x" * 299 + "y"}]})

    (found,) = differences([expected], [got])

    assert found.where == "body /a~1b/1/c~0d"
    assert found.expected.endswith("… (302 characters)")


def test_a_list_is_not_an_object() -> None:
    """Also where the pointers into the two are the same."""
    assert differences([told(["x"])], [told({"0": "x"})])[0].where == "body"


def test_steps_that_are_missing_are_told() -> None:
    """On either side."""
    one = told({})

    assert [(found.where, found.got) for found in differences([one], [])] == [
        ("step", "not asked, for want of what a step before it gives")
    ]
    assert [(found.expected, found.got) for found in differences([], [one])] == [("nothing", "an answer")]
    assert list(lines([Difference("a", "GET /", "status", "200", "500")])) == [
        "  a: GET /",
        "    status                  expected 200",
        "                            got      500",
    ]
