"""JSON pointers (RFC 6901) into an answer; `*` stands for every member. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any


def parts(pointer: str) -> list[str]:
    """Its reference tokens, unescaped."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def pointer(steps: Sequence[str]) -> str:
    """The other way round."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def found(document: Any, steps: Sequence[str]) -> Iterator[Any]:
    """Every value that it points to; none where it leads nowhere."""
    if not steps:
        yield document
        return
    for key in _keys(document, steps[0]):
        yield from found(document[key], steps[1:])


def changed(document: Any, steps: Sequence[str], change: Callable[[Any], Any]) -> Any:
    """The document with every value that it points to changed; the given one stays as it is."""
    if not steps:
        return change(document)
    keys = _keys(document, steps[0])
    if isinstance(document, dict):
        return document | {key: changed(document[key], steps[1:], change) for key in keys}
    if isinstance(document, list):
        return [changed(one, steps[1:], change) if at in keys else one for at, one in enumerate(document)]
    return document


def leaves(document: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every value that has no members, with its pointer; an empty object or list is one."""
    members = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    if not members or not document:
        yield pointer(at), document
        return
    for key, value in members:
        yield from leaves(value, (*at, str(key)))


def _keys(document: Any, step: str) -> list[Any]:
    if isinstance(document, dict):
        return list(document) if step == "*" else [step] if step in document else []
    if isinstance(document, list):
        every = range(len(document))
        return list(every) if step == "*" else [int(step)] if step.isdigit() and int(step) in every else []
    return []
