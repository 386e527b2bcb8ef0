"""Looks at an installation before anything is compared: is it Wake at all, whose cards does it charge, who is admin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

from knative.runtime.parity.caller import Caller, NoAnswer
from knative.runtime.parity.normal import Seen
from knative.runtime.parity.scenario import Step
from knative.runtime.parity.target import Target, Unusable

_KEYS = Step("probe", "GET /.well-known/jwks.json")
_LETTERS = Step("probe", "GET /deadletters/?limit=1")
_WEBHOOK = Step("probe", "POST /payments/webhooks/simulator", json={})
_TITLE = re.compile(r"<title(?: [^<>]{0,200})?>([^<]{0,200})</title", re.IGNORECASE)


async def is_wake(caller: Caller) -> None:
    """Ask for the keys of its tokens, which everybody may read.

    Raises:
        Unusable: nobody answers, or somebody else does.
    """
    try:
        seen = await caller.answer(_KEYS)
    except NoAnswer as error:
        raise Unusable(error.why) from error
    if said := _stranger(seen, caller.target):
        raise Unusable(f"{caller.target.url}{_KEYS.path} {said}")


def _stranger(seen: Seen, target: Target) -> str:
    """What is said of an answer that is not Wake's; empty where it is, be it an error."""
    assert isinstance(seen.status, int)  # noqa: S101 - over HTTP.
    if 300 <= seen.status < 400:
        return (
            f"sends elsewhere ({seen.status}, {seen.headers.get('location', '')}), which is not followed: give that URL"
        )
    if "html" in seen.headers.get("content-type", ""):
        title = found[1].strip() if (found := _TITLE.search(str(seen.body))) else "no title"
        return (
            f"answers {seen.status} with a page for people ({title}): does a login stand before it? --header-file FILE"
        )
    if seen.status == 200:
        return (
            ""
            if isinstance(seen.body, Mapping) and "keys" in seen.body
            else "answers 200, but not with keys: it is no Wake"
        )
    if _is_problem(seen) and seen.status != 404:
        return ""
    phrase = HTTPStatus(seen.status).phrase if seen.status in set(HTTPStatus) else ""
    return f"is answered {seen.status} {phrase}: {_hint(seen.status, target)}"


def _hint(status: int, target: Target) -> str:
    if status in {401, 403, 407}:
        return "a gateway in front wants to know who calls: --header-file FILE"
    if status in {404, 421}:
        name = (
            f"{target.host_header} a host that it knows"
            if target.host_header
            else "it one that goes by names (--host-header)"
        )
        return f"is {name}, and is {target.prefix or '/'} where the API begins?"
    return "look at what stands between here and the functions"


def _is_problem(seen: Seen) -> bool:
    return seen.headers.get("content-type", "").startswith("application/problem+json") and isinstance(
        seen.body, Mapping
    )


async def is_admin(caller: Caller, token: str) -> None:
    """Ask for dead letters with a token that is to be an admin's.

    Raises:
        Unusable: it is not, or not any more.
    """
    try:
        seen = await caller.answer(_LETTERS, token)
    except NoAnswer as error:
        raise Unusable(error.why) from error
    if seen.status == 401:
        raise Unusable("the token of --token-file is not taken: it lasts ten minutes, POST /tokens gives another")
    if seen.status == 403:
        raise Unusable("the token of --token-file is no admin's")


async def whose_cards(caller: Caller) -> str:
    """`simulator`, or a sentence on why not: an unsigned webhook of its, which changes nothing, is refused by its name.

    No token of a scenario means anything to another card processor; still none is sent where it is not this one.
    """
    try:
        seen = await caller.answer(_WEBHOOK)
    except NoAnswer as error:
        return f"whose cards are charged there cannot be told ({error.why})"
    if seen.status == 401 and _is_problem(seen) and "signature" in str(seen.body.get("detail")):
        return "simulator"
    # The function's own words: where a gateway says it, the function may not be routed.
    if seen.status == 404 and _is_problem(seen) and seen.body.get("detail") == "There is nothing here.":
        return "real cards are charged there"
    return f"whose cards are charged there cannot be told ({_WEBHOOK.request} was answered {seen.status})"
