"""An object as a cache keeps it, and the events after which it is another. Pure.

What is kept is the object, never an answer: who may see it is decided anew at each read. It is what the API shows of
it, and nothing beyond that: no password's hash, no payment token.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from eventing.event import Event
from functions.events import Change

# Another number is another cache: two versions of this code that run side by side do not read each other's copies.
FORMAT = 1
BYTES_MAX = 16 * 1024
_VERSION_DIGITS_MAX = 15


@dataclass(frozen=True)
class Kept:
    """What the API shows of an object, whose it is, and its version (which its ETag names)."""

    owner: str
    version: int
    view: dict[str, Any]


def key(area: str, name: str) -> str:
    """Under which key an object is kept, in whichever namespace; *name* was checked to be one."""
    return f"{FORMAT}:{area}:{name}"


def encode(kept: Kept) -> bytes | None:
    """The body to keep; None where it is too long to be."""
    body = json.dumps({"owner": kept.owner, "view": kept.view}, separators=(",", ":")).encode()
    return body if len(body) < BYTES_MAX else None


def decode(value: bytes) -> Kept | None:
    """What `VERSION:BODY` holds; None where it is a mark that something was forgotten, or nothing of ours."""
    version, _, body = value.partition(b":")
    if not version.isdigit() or len(version) > _VERSION_DIGITS_MAX or not body or len(value) > BYTES_MAX:
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    owner, view = found.get("owner"), found.get("view")
    if not isinstance(owner, str) or not isinstance(view, dict):
        return None
    return Kept(owner, int(version), view)


def changed(event: Event) -> tuple[str, int] | None:
    """The key of the object that an event says has changed, and the version that it has now; None for other events.

    The version is 0 where the event is of a time when none was in it.
    """
    kind = _changes().get(event.type)
    if kind is None:
        return None
    version = kind.model_validate_json(event.data).version
    return key(event.type.partition(".")[0], event.subject or ""), version


def _changes() -> dict[str, type[Change]]:
    return {kind.TYPE: kind for kind in Change.__subclasses__()}
