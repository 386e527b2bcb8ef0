"""Every error as a problem document (RFC 9457): one shape, no input repeated, no stack shown."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from functions.errors import FieldError, Refusal

MEDIA_TYPE = "application/problem+json"


def problem(
    status: int,
    title: str,
    detail: str,
    errors: tuple[FieldError, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document as a response; `errors` (an extension member) names fields."""
    body: dict[str, object] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if errors:
        body["errors"] = [{"field": error.field, "message": error.message} for error in errors]
    # What is not there now may be in a moment: a 404 could be kept by whoever passes it on (RFC 9110, section 15.1).
    return JSONResponse(body, status, headers={"cache-control": "no-store", **(headers or {})}, media_type=MEDIA_TYPE)


def of_refusal(refusal: Refusal) -> Response:
    """The answer to one of our own errors."""
    return problem(refusal.status, refusal.title, refusal.detail, refusal.errors, refusal.headers)


def install(app: FastAPI) -> None:
    """Answer every error of this app with a problem document."""

    async def refusal(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)  # noqa: S101 - registered for nothing else.
        return of_refusal(error)

    async def of_framework(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else.
        title = HTTPStatus(error.status_code).phrase
        return problem(error.status_code, title, _DETAILS.get(error.status_code, title), headers=error.headers)

    async def validation(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else.
        errors = tuple(
            FieldError(".".join(str(part) for part in one["loc"][1:]) or str(one["loc"][0]), one["msg"])
            for one in error.errors()
        )
        return problem(422, "Unprocessable Content", "The request's parameters are not valid.", errors)

    async def bug(_: Request, __: Exception) -> Response:
        return problem(
            500, "Internal Server Error", "Something went wrong here. It has been noted; trying again may help."
        )

    app.add_exception_handler(Refusal, refusal)
    app.add_exception_handler(HTTPException, of_framework)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(Exception, bug)


def for_body_limit(scope: Scope, receive: Receive, send: Send) -> Send:
    """A `send` in which the framework's own answer to a body that is too long, plain text, is a problem document."""
    replaced = False

    async def send_problem(message: Message) -> None:
        nonlocal replaced
        if replaced:
            return
        if message["type"] == "http.response.start" and message["status"] == 413 and _is_text(message):
            replaced = True
            await problem(413, HTTPStatus(413).phrase, _DETAILS[413])(scope, receive, send)
            return
        await send(message)

    return send_problem


def _is_text(message: Message) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/") for name, value in message.get("headers", ()))


_DETAILS = {
    404: "There is nothing at this path.",
    405: "This path does not take this method.",
    413: "The body is longer than is taken here.",
}
