"""ETags: strong ones, of an object's version (RFC 9110, sections 8.8.3 and 13.1)."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from functions.errors import PreconditionFailed


def etag(version: int) -> str:
    """The entity tag of a version."""
    return f'"{version}"'


def answer(request: Request, body: dict[str, object], tag: str) -> Response:
    """The object with its tag; 304 without it where the caller has this version already (If-None-Match)."""
    headers = {"etag": tag, "cache-control": "private, no-cache", "vary": "authorization"}
    if tag in _tags(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    return JSONResponse(body, headers=headers)


def require_match(request: Request, tag: str) -> None:
    """Refuse to change what the caller has not seen, where it says what it has seen (If-Match).

    Raises:
        PreconditionFailed: 412.
    """
    sent = request.headers.get("if-match")
    if sent is not None and sent.strip() != "*" and tag not in _tags(sent, weak=False):
        raise PreconditionFailed


def _tags(header: str, *, weak: bool = True) -> set[str]:
    tags = {one.strip() for one in header.split(",")}
    return {one.removeprefix("W/") if weak else one for one in tags}
