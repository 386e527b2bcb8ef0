"""`wake explain`: every field in use, or of the whole API: honoured, approximated (how) or refused (why)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from knative.runtime.fields import ANY, FIELDS, NOT_HERE, Approximated
from knative.runtime.kustomize import Document
from knative.runtime.scaling import HPA, PREFIX

# What annotations do here that is not to the letter; the others are honoured.
_ANNOTATIONS: Mapping[str, str] = {
    f"{PREFIX}class: {HPA}": "CPU time of processes stands in for a metrics server",
    f"{PREFIX}initial-scale": "without the annotation nothing is started before the first request",
    f"{PREFIX}max-scale": "at most 32 replicas are started",
    f"{PREFIX}metric": "concurrency is looked at once a second, not averaged over it",
}


@dataclass(frozen=True)
class Line:
    """One field and what becomes of it."""

    field: str
    fidelity: str
    how: str

    def __str__(self) -> str:
        """As a row of the report."""
        return f"  {self.fidelity:<13}{self.field}{': ' + self.how if self.how else ''}"


def in_use(documents: Iterable[Document]) -> dict[str, list[Line]]:
    """The report of these documents, by kind: each field once, those that are not honoured first."""
    report: dict[str, dict[str, Line]] = {}
    for document in documents:
        kind = f"{document.body.get('apiVersion', '')} {document.kind}"
        fields = FIELDS.get(kind)
        rows = report.setdefault(kind, {})
        for line in _used(document.body, fields, "") if fields is not None else ():
            rows.setdefault(line.field, line)
    return {kind: _sorted(rows.values()) for kind, rows in sorted(report.items())}


def everything() -> dict[str, list[Line]]:
    """The report of every kind and field there is."""
    report = {kind: _sorted(_all(fields, "")) for kind, fields in FIELDS.items()}
    for kind, reason in NOT_HERE.items():
        report[kind] = [Line(kind.rpartition(" ")[2], "refused", reason)]
    return dict(sorted(report.items()))


def _sorted(lines: Iterable[Line]) -> list[Line]:
    order = {"refused": 0, "approximated": 1, "honoured": 2}
    return sorted(lines, key=lambda line: (order[line.fidelity], line.field))


def _used(value: Any, fields: Any, path: str) -> Iterator[Line]:
    if isinstance(fields, list):
        for one in value if isinstance(value, list) else ():
            yield from _used(one, fields[0], f"{path}[]")
    elif isinstance(fields, Mapping) and fields is not ANY:
        for name, one in (value or {}).items():
            yield from _used(one, fields.get(name, "there is no such field"), f"{path}.{name}".lstrip("."))
    elif fields is ANY and path.endswith("annotations"):
        yield from (_annotation(path, name, str(one)) for name, one in (value or {}).items())
    else:
        yield _line(path, fields)


def _all(fields: Any, path: str) -> Iterator[Line]:
    if isinstance(fields, list):
        yield from _all(fields[0], f"{path}[]")
    elif isinstance(fields, Mapping) and fields is not ANY:
        for name, one in fields.items():
            yield from _all(one, f"{path}.{name}".lstrip("."))
    else:
        yield _line(path, fields)


def _line(path: str, fields: Any) -> Line:
    if isinstance(fields, Approximated):
        return Line(path, "approximated", fields)
    if isinstance(fields, str):
        return Line(path, "refused", fields)
    return Line(path, "honoured", "")


def _annotation(path: str, name: str, value: str) -> Line:
    how = _ANNOTATIONS.get(f"{name}: {value}", _ANNOTATIONS.get(name, ""))
    return Line(f"{path}[{name}]", "approximated" if how else "honoured", how)
