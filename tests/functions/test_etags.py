"""ETags, conditional requests and HEAD."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from functions import etags
from functions.errors import PreconditionFailed
from tests.functions.conftest import bearer

ADA = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}
ME = bearer("ada")
TAGS = st.from_regex(r'(W/)?"[\x21\x23-\x7e]{0,6}"', fullmatch=True)


def request(name: str, *values: str) -> Request:
    """A GET with a header, as often as it has values."""
    return Request({"type": "http", "method": "GET", "headers": [(name.encode(), one.encode()) for one in values]})


def matches(sent: str) -> bool:
    """Whether If-Match of this lets version 3 be changed."""
    try:
        etags.require_match(request("if-match", sent), '"3"')
    except PreconditionFailed:
        return False
    return True


@given(st.lists(TAGS, max_size=5), st.sampled_from([",", ", ", " ,\t"]))
def test_a_list_is_each_of_its_tags(tags: list[str], between: str) -> None:
    """Weak ones too for If-None-Match, strong ones only for If-Match; commas between quotes divide nothing."""
    sent = between.join(tags)

    assert etags.is_known(request("if-none-match", sent), '"3"') == any(one in {'"3"', 'W/"3"'} for one in tags)
    assert matches(sent) == ('"3"' in tags)


@pytest.mark.parametrize(
    ("sent", "known"),
    [("*", True), ('"1,3"', False), ('"2", W/"3"', True), ("3", False), ("", False), ('"*"', False), ('w/"3"', True)],
)
def test_what_a_caller_may_know(sent: str, known: bool) -> None:
    """By RFC 9110, section 13.1.2; what is no tag is passed over."""
    assert etags.is_known(request("if-none-match", sent), '"3"') is known


def test_two_headers_are_one_list() -> None:
    """As every header that is a list (RFC 9110, section 5.3)."""
    assert etags.is_known(request("if-none-match", '"2"', '"3"'), '"3"')


@pytest.mark.parametrize("sent", ['"1"', '"0", W/"1"', "*"])
async def test_who_has_it_already_gets_no_body(serve: Any, sent: str) -> None:
    """304 with the headers that a 200 would have had (RFC 9110, section 15.4.5)."""
    await (await serve("users.register")).client.post("/users/", json=ADA)
    served = await serve("users.get")
    full = await served.client.get("/users/ada", headers=ME)
    known = await served.client.get("/users/ada", headers={**ME, "if-none-match": sent})

    assert (known.status_code, known.content) == (304, b"")
    for name in ("etag", "cache-control", "vary"):
        assert known.headers[name] == full.headers[name]


async def test_head_is_get_without_the_body(serve: Any) -> None:
    """The same status and headers, also for a refusal and a 304."""
    await (await serve("users.register")).client.post("/users/", json=ADA)
    served = await serve("users.get")
    for headers in (ME, {**ME, "if-none-match": '"1"'}, {}):
        got = await served.client.get("/users/ada", headers=headers)
        headed = await served.client.head("/users/ada", headers=headers)

        assert (headed.status_code, headed.content) == (got.status_code, b"")
        assert headed.headers.get("content-length") == got.headers.get("content-length")
        assert headed.headers.get("etag") == got.headers.get("etag")


async def test_the_keys_say_304_to_any_list_of_tags(serve: Any) -> None:
    """The same rules for what everybody may keep."""
    served = await serve("users.keys", "users")
    answer = await served.client.get("/.well-known/jwks.json")
    known = await served.client.get(
        "/.well-known/jwks.json", headers={"if-none-match": f'"x", W/{answer.headers["etag"]}'}
    )

    assert (known.status_code, known.headers["cache-control"]) == (304, "public, max-age=300")


async def test_a_problem_is_kept_by_nobody(serve: Any) -> None:
    """Who is not there now may be in a moment."""
    answer = await (await serve("users.get")).client.get("/users/ada", headers=ME)

    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
