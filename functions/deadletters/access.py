"""Who may work with dead letters, and how a request names one."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path
from pydantic import Field

from functions.deadletters.deadletters import UnknownDeadLetter

LetterId = Annotated[UUID, Field(strict=False, description="a dead letter's id")]
Reason = Annotated[str, Field(min_length=1, max_length=500, description="why, for the record")]


async def _in_path(letter_id: Annotated[str, Path()]) -> UUID:
    """The id in a path.

    Raises:
        UnknownDeadLetter: 404, also for what is no id.
    """
    try:
        return UUID(letter_id)
    except ValueError as error:
        raise UnknownDeadLetter from error


InPath = Annotated[UUID, Depends(_in_path)]
