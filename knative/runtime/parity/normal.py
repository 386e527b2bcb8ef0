"""What an installation answered, without what is its own: ids, times, tokens, tags, hosts and names of this run. Pure.

Ids and tags get numbers in the order in which a scenario first sees them, so an id that comes back as another shows.
Of the headers those are kept that are the API's, and not what servers and proxies on the way add.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from knative.runtime.parity import pointers
from knative.runtime.parity.scenario import Step

HEADERS = frozenset(
    {
        "allow",
        "cache-control",
        "content-encoding",
        "content-type",
        "etag",
        "idempotency-replayed",
        "link",
        "location",
        "retry-after",
        "vary",
        "www-authenticate",
        "x-request-id",
    }
)
_PREFIXES = ("access-control-",)
# Their presence is what counts.
_MASKED = frozenset({"x-request-id", "retry-after"})
_LISTS = frozenset({"allow", "cache-control", "vary"})
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)")
_ID = re.compile(
    r"(?<![0-9a-f])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-f])", re.IGNORECASE
)
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
_WEAK = re.compile(r"^W/")


@dataclass(frozen=True)
class Own:
    """What is one installation's or one run's: where it is, the path that it is under, the word in its names."""

    origin: str
    prefix: str
    run: str


@dataclass(frozen=True)
class Seen:
    """An answer as it came, with the step as it is written; headers in lower case, the body parsed where it is JSON.

    A call over gRPC has its status by name. Where none came, `status` says so and `body` why.
    """

    step: Step
    status: int | str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = ""


@dataclass(frozen=True)
class Told:
    """An answer as it is compared and recorded."""

    step: str
    request: str
    status: int | str
    headers: Mapping[str, str]
    body: Any


@dataclass
class Names:
    """What an installation's own values are called in one scenario."""

    own: Own
    given: dict[tuple[str, str], str] = field(default_factory=dict)

    def number(self, kind: str, value: str) -> str:
        """The same for the same value, a new one for another."""
        known = sum(of == kind for of, _ in self.given)
        return self.given.setdefault((kind, value), f"<{kind} {known + 1}>")

    def text(self, text: str) -> str:
        """One string; a second time changes nothing more."""
        text = text.replace(self.own.run, "RUN") if self.own.run else text
        text = _TOKEN.sub("<token>", text)
        text = _TIME.sub("<time>", text)
        text = _ID.sub(lambda found: self.number("id", found[0].lower()), text)
        return self._from_root(text)

    def document(self, value: Any) -> Any:
        """Every string of it, in an order that does not depend on that of the members."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {name: self.document(value[name]) for name in sorted(value)}
        if isinstance(value, list):
            return [self.document(one) for one in value]
        return value

    def _from_root(self, text: str) -> str:
        """A path of this API: one that names the host, or the path that the API is under here, is the same one."""
        for start in (self.own.origin + self.own.prefix, self.own.prefix):
            if start and text.startswith(start + "/"):
                return text[len(start) :]
        return text


def normalised(seen: Sequence[Seen], own: Own) -> list[Told]:
    """The answers of one scenario as they are compared."""
    names = Names(own)
    return [_told(one, names) for one in seen]


def _told(seen: Seen, names: Names) -> Told:
    step = seen.step
    status: int | str = seen.status
    if status in step.either:
        status = " or ".join(map(str, step.either))
    if step.only == "status":
        return Told(step.name, step.request, status, {}, "")
    shown = {name: value for name, value in seen.headers.items() if f"header {name}" not in step.mask}
    headers = _headers(shown, step.path, names)
    return Told(step.name, step.request, status, headers, _body(seen.body, step, names))


def _body(body: Any, step: Step, names: Names) -> Any:
    for one in step.mask:
        body = pointers.changed(body, pointers.parts(one), lambda _: "<any>")
    for one in step.number:
        body = pointers.changed(body, pointers.parts(one), lambda value: names.number("value", str(value)))
    if step.only:
        part = {one: list(pointers.found(body, pointers.parts(one))) for one in step.only}
        # Where nothing is there of what was looked for, all of it says why.
        body = {one: values[0] for one, values in part.items() if values} or body
    return names.document(body)


def _headers(headers: Mapping[str, str], path: str, names: Names) -> dict[str, str]:
    kept = {name: value for name, value in headers.items() if name in HEADERS or name.startswith(_PREFIXES)}
    told = {name: _header(name, kept[name], path, names) for name in sorted(kept)}
    if "content-encoding" not in told and "vary" in told:
        # Said by what might have compressed it, and did not.
        told["vary"] = ", ".join(one for one in told["vary"].split(", ") if one != "accept-encoding")
    return {name: value for name, value in told.items() if value}


def _header(name: str, value: str, path: str, names: Names) -> str:
    if name in _MASKED:
        return "<any>"
    if name == "etag":
        # What compresses on the way has to make a strong tag a weak one.
        return names.number("tag", f"{path} {_WEAK.sub('', value)}")
    if name in _LISTS:
        return ", ".join(sorted(_members(value.lower())))
    if name == "content-type":
        return "; ".join(one for one in _members(value.lower(), ";") if one.replace('"', "") != "charset=utf-8")
    if name == "link":
        return "<" + names.text(value.removeprefix("<"))
    return names.text(value)


def _members(value: str, separator: str = ",") -> Iterable[str]:
    return filter(None, (one.strip() for one in value.split(separator)))
