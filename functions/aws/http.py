"""HTTP over Lambda: Mangum between API Gateway (both formats), load balancers and function URLs and a function's app.

What Mangum leaves open is closed here: the time that is left, headers that came twice, the stage before the path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mangum import Mangum
from mangum.adapter import DEFAULT_TEXT_MIME_TYPES
from starlette.types import ASGIApp, Receive, Scope, Send

from functions import deadlines

# What is not listed goes out in Base64, which API Gateway's REST APIs hand to the caller as it is. Mangum looks for
# these within the content type.
_TEXT = [*DEFAULT_TEXT_MIME_TYPES, "+json"]
Headers = list[tuple[bytes, bytes]]


def gateway(app: ASGIApp, seconds_left: Callable[[Any], float], base_path: str = "") -> Mangum:
    """A handler of HTTP events for an app that has been started.

    *seconds_left* is asked with the invocation's context; *base_path* is what a custom domain maps to the API.

    Mangum itself would go through the app's start and end at each call (0.22: `adapter.py`).
    """

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        event, context = scope["aws.event"], scope["aws.context"]
        headers = headers_of(event, scope["headers"])
        milliseconds = str(max(1, int(seconds_left(context) * 1000))).encode()
        if all(name != b"x-request-id" for name, _ in headers):
            headers.append((b"x-request-id", context.aws_request_id.encode()))
        path = path_of(event, scope["path"], base_path)
        await app({**scope, "path": path, "headers": [*headers, (deadlines.OF_GATEWAY, milliseconds)]}, receive, send)

    return Mangum(called, lifespan="off", text_mime_types=_TEXT)


def headers_of(event: Mapping[str, Any], made: Headers) -> Headers:
    """The request's headers. What came twice stays two (Mangum joins them); a caller cannot speak as the gateway."""
    several: Mapping[str, list[str]] = event.get("multiValueHeaders") or {}
    found = [(name.lower().encode(), one.encode()) for name, values in several.items() for one in values]
    return [(name, value) for name, value in (found or map(tuple, made)) if name != deadlines.OF_GATEWAY]


def path_of(event: Mapping[str, Any], path: str, base_path: str) -> str:
    """The path as the API has it: without the stage, which an HTTP API puts first, and without a domain's mapping."""
    stage = event["requestContext"].get("stage", "$default")
    # A REST API has taken it off already.
    before = [base_path, "" if stage == "$default" or event.get("version") != "2.0" else stage]
    for one in (part.strip("/") for part in before):
        if one and f"{path}/".startswith(f"/{one}/"):
            path = path[len(one) + 1 :] or "/"
    return path
