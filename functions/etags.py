"""ETags: strong ones, of an object's version, and what a caller says by them (RFC 9110, sections 8.8.3 and 13.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from functions.errors import PreconditionFailed

# An entity-tag; between its quotes may be a comma. Two forms may stand in one list.
_TAG = re.compile(r'(?P<weak>W/)?(?P<opaque>"[\x21\x23-\x7e\x80-\xff]*")')


def etag(version: int) -> str:
    """The entity tag of a version."""
    return f'"{version}"'


def answer(request: Request, body: Mapping[str, object], tag: str) -> Response:
    """The object with its tag; 304 without it where the caller has this version already (If-None-Match)."""
    headers = {"etag": tag, "cache-control": "private, no-cache", "vary": "authorization"}
    if is_known(request, tag):
        return Response(status_code=304, headers=headers)
    return JSONResponse(dict(body), headers=headers)


def is_known(request: Request, tag: str) -> bool:
    """Whether the caller of a GET or HEAD has this already: by a list of tags, weak ones too, or `*` for any."""
    sent = _sent(request, "if-none-match")
    return sent.strip() == "*" or tag in {found["opaque"] for found in _TAG.finditer(sent)}


def require_match(request: Request, tag: str) -> None:
    """Refuse to change what the caller has not seen, where it says what it has seen (If-Match).

    Raises:
        PreconditionFailed: 412; also where the tag is a weak one, which says too little for that.
    """
    sent = request.headers.get("if-match")
    if sent is None or sent.strip() == "*":
        return
    if tag not in {found["opaque"] for found in _TAG.finditer(sent) if not found["weak"]}:
        raise PreconditionFailed


def _sent(request: Request, name: str) -> str:
    """A header that may be sent as several, which are one list (RFC 9110, section 5.3)."""
    return ", ".join(request.headers.getlist(name))
