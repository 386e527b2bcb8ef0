"""What a handler asks: the message that came, and who calls."""

from __future__ import annotations

from typing import Any, TypeVar

from functions import correlation
from functions.errors import BadRequest, Unauthenticated
from functions.identity import Identity

Message = TypeVar("Message")


async def receive(stream: Any) -> Any:
    """The message of a unary call, or of one whose answer is a stream.

    Raises:
        BadRequest: the caller sent none.
    """
    message = await stream.recv_message()
    if message is None:
        raise BadRequest("The call came without its message.")
    return message


def caller() -> Identity:
    """Whoever's token came with the call that is being answered.

    Raises:
        Unauthenticated: there was none, or it is not valid.
    """
    identity = correlation.current().identity
    if identity is None:
        raise Unauthenticated
    return identity
