"""Pages of a list: by key, not by number, so that what is added meanwhile shifts nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import JSONResponse, Response

Limit = Annotated[int, Query(ge=1, le=100, description="how many at most")]
LIMIT = 20


def page(
    request: Request, rows: Sequence[Mapping[str, Any]], limit: int, key: Callable[[Mapping[str, Any]], str]
) -> Response:
    """The first *limit* of rows that were asked for with one more than that; `next` is the path of those that follow.

    The path is also in a Link header (RFC 8288).
    """
    items = rows[:limit]
    following = None
    headers = {"cache-control": "private, no-store"}
    if len(rows) > limit:
        query = request.url.include_query_params(after=key(items[-1]), limit=limit).query
        following = f"{request.url.path}?{query}"
        headers["link"] = f'<{following}>; rel="next"'
    return JSONResponse({"items": list(items), "next": following}, headers=headers)
