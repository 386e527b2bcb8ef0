"""Request bodies, parsed strictly from their raw bytes: what is not exactly right is a 4xx that names the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, ValidationError

from eventing import strictjson
from functions.errors import BadRequest, FieldError, Unprocessable, UnsupportedMediaType

_DEPTH_MAX = 32
Model = TypeVar("Model", bound=BaseModel)


class StrictModel(BaseModel):
    """A body: no field too many, none converted, none repeated."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def body(model: type[StrictModel], *, decimals: bool = True) -> Any:
    """A FastAPI dependency that reads the body as this model; *decimals* as in `parse_json`.

    `order: Annotated[PlaceOrder, body(PlaceOrder)]`
    """

    async def read(request: Request) -> StrictModel:
        require_content_type(request, "application/json")
        return validated(model, parse_json(await request.body(), decimals=decimals))

    # The OpenAPI document is told by this what the body is.
    vars(read)["model"] = model
    return Depends(read)


def require_content_type(request: Request, expected: str) -> None:
    """Refuse any other type of body, and any encoding of it.

    Raises:
        UnsupportedMediaType: 415.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("Bodies are taken as they are, with no Content-Encoding.")
    sent, _, parameters = request.headers.get("content-type", "").partition(";")
    if sent.strip().lower() != expected or parameters.strip().lower().replace('"', "") not in {"", "charset=utf-8"}:
        raise UnsupportedMediaType(f"The body has to be {expected}, in UTF-8.")


def parse_json(text: bytes, *, decimals: bool = True) -> Any:
    """JSON of a request; with *decimals* a number with a fraction comes as Decimal, with the digits that were sent.

    Raises:
        BadRequest: it is empty, or no JSON.
    """
    if not text.strip():
        raise BadRequest("The body is empty; it has to be a JSON object.")
    try:
        return strictjson.parse(text, depth_max=_DEPTH_MAX, decimals=decimals)
    except strictjson.InvalidJson as error:
        raise BadRequest(f"The body is not acceptable: {error}.") from error


def validated(model: type[Model], value: Any) -> Model:
    """The value as this model.

    Raises:
        Unprocessable: 422, with every field that is wrong.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Unprocessable("The body is not valid.", errors=field_errors(error)) from error


def field_errors(error: ValidationError) -> tuple[FieldError, ...]:
    """What pydantic found, without what was sent."""
    return tuple(
        FieldError(".".join(str(part) for part in one["loc"]) or "body", _message(one))
        for one in error.errors(include_input=False, include_url=False, include_context=True)
    )


def _message(error: Mapping[str, Any]) -> str:
    # A pattern or an exception's class says nothing to a caller.
    return str(error["msg"]).removeprefix("Value error, ")
