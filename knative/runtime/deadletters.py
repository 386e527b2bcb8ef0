"""`wake deadletters …`: events that could not be handled; through the API, so that it is the same on a cluster."""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from knative.runtime import letters as words
from knative.runtime.api import Admin, ApiFailed

_PATH = "/deadletters/"
_SPAN = re.compile(r"^(\d{1,6})([smhd])$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SHORT = 8
_FILTERS = ("type", "subject", "destination", "since")


def moment(text: str, now: datetime) -> str:
    """A time as the API takes it: RFC 3339, or how long ago.

    Raises:
        ApiFailed: it is neither.
    """
    if (span := _SPAN.match(text)) is not None:
        return (now - timedelta(**{_UNITS[span[2]]: int(span[1])})).isoformat()
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise ApiFailed(f"{text} is no time such as 2026-01-31T12:00:00Z, and no span such as 90m, 2h, 3d")
    return when.isoformat()


def _wanted(options: argparse.Namespace) -> dict[str, str]:
    given = {name: value for name in _FILTERS if (value := getattr(options, name)) is not None}
    return given | ({"since": moment(options.since, datetime.now(UTC))} if options.since else {})


def _pages(api: Admin, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    path: str | None = f"{_PATH}?{urlencode({**query, 'limit': 100})}"
    while path:
        body = api.ask("GET", path).body
        yield from body["items"]
        path = body["next"]


def _found(api: Admin, named: str) -> str:
    """The id that a person means, who copied its beginning or its end.

    Raises:
        ApiFailed: no letter, or several.
    """
    if not named:
        # As from `discard "$ID"` where nothing set it: every letter begins with it.
        raise ApiFailed("an empty id means no dead letter: `wake deadletters list`")
    if len(named) == 36:
        return named
    found = [one["id"] for one in _pages(api, {}) if one["id"].startswith(named) or one["id"].endswith(named)]
    if len(found) != 1:
        raise ApiFailed(f"{named} means {'no' if not found else 'more than one'} dead letter: `wake deadletters list`")
    return str(found[0])


def _list(api: Admin, options: argparse.Namespace) -> int:
    query = _wanted(options) | ({} if options.letter_state == "all" else {"state": options.letter_state})
    items = list(islice(_pages(api, query), options.last))
    if options.json:
        print(json.dumps(items, indent=1))
        return 0
    if not items:
        print(
            "No dead letters." if options.letter_state == "all" else f"No dead letters that are {options.letter_state}."
        )
        return 0
    print(words.HEADING)
    for one in items:
        print(words.row(one))
    return 0


def _letter(api: Admin, named: str) -> tuple[dict[str, Any], str]:
    answer = api.ask("GET", _PATH + _found(api, named))
    return answer.body, answer.etag


def _show(api: Admin, options: argparse.Namespace) -> int:
    letter, _ = _letter(api, options.id)
    if options.json:
        print(json.dumps(letter, indent=1))
        return 0
    print("\n".join(words.whole(letter)))
    return 0


def _diff(api: Admin, options: argparse.Namespace) -> int:
    letter, _ = _letter(api, options.id)
    found = {name: letter[name] for name in ("schema_differences", "edit_differences")}
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    schema = found["schema_differences"]
    print("\n".join(words.schema_lines(schema, letter["edit"] or letter)))
    if found["edit_differences"]:
        print("\nedited:")
    for one in found["edit_differences"]:
        print(f"  {one['path']}: {json.dumps(one['before'])} -> {json.dumps(one['after'])}")
    return 0


def _dry_run(api: Admin, options: argparse.Namespace) -> int:
    told = api.ask("POST", f"{_PATH}dry-runs", {"id": _found(api, options.id)}).body
    print(json.dumps(told, indent=1) if options.json else words.said(told))
    return 0


def _edit(api: Admin, options: argparse.Namespace) -> int:
    letter, etag = _letter(api, options.id)
    change: dict[str, Any] = {"reason": options.why}
    if options.data is not None:
        change["data_base64"] = base64.b64encode(_read(options.data)).decode()
    elif options.set or options.unset:
        change["data"] = _changed((letter["edit"] or letter)["data"], options.set, options.unset)
    if options.attribute:
        change["attributes"] = {name: value or None for name, value in map(_pair, options.attribute)}
    if len(change) == 1:
        raise ApiFailed("there is nothing to change: give --set, --unset, --data or --attribute")
    body = api.ask("PATCH", _PATH + letter["id"], change, etag).body
    if options.json:
        print(json.dumps(body, indent=1))
    elif body["edit"] is None:
        print("Edited back to what it was: a redrive sends the original.")
    else:
        attributes = body["edit"]["attributes"]
        print(f"Edited: a redrive sends it with the new id {attributes['id']}; causationid is the original's.")
        print("\n".join(words.schema_lines(body["schema_differences"], body["edit"])))
    return 0


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ApiFailed(f"{file}: {error.strerror}") from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ApiFailed(f"{text} has no = in it: NAME=VALUE")
    return name, value


def _changed(data: str, sets: Sequence[str], unsets: Sequence[str]) -> Any:
    """The data with values put in and taken out, by their paths (`items.0.amount`).

    Raises:
        ApiFailed: it is no JSON, or a path leads nowhere.
    """
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ApiFailed("the data is no JSON: give it as a whole with --data FILE") from error
    for path, text in map(_pair, sets):
        holder, last = _holder(value, path)
        holder[last] = _value(text)
    for path in unsets:
        holder, last = _holder(value, path)
        if isinstance(holder, dict) and last not in holder:
            raise ApiFailed(f"there is no {path} in the data")
        del holder[last]
    return value


def _holder(value: Any, path: str) -> tuple[Any, Any]:
    *steps, last = path.split(".")
    try:
        for step in steps:
            value = value[int(step) if isinstance(value, list) else step]
        key: Any = int(last) if isinstance(value, list) else last
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ApiFailed(f"{path} leads nowhere in the data") from error
    if not isinstance(value, dict) and not (isinstance(value, list) and 0 <= key < len(value)):
        raise ApiFailed(f"{path} leads nowhere in the data")
    return value, key


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _redrive(api: Admin, options: argparse.Namespace) -> int:
    wanted = _wanted(options)
    if not options.ids and not wanted and not options.all:
        raise ApiFailed("say which: ids, a filter such as --type, or --all")
    if options.ids and (wanted or options.all):
        raise ApiFailed("ids and a filter exclude each other: give one")
    body: dict[str, Any] | None = {"ids": [_found(api, one) for one in options.ids]} if options.ids else wanted
    if options.all and body is not None:
        body["all"] = True
    results: list[dict[str, Any]] = []
    while body is not None:
        answer = api.ask("POST", f"{_PATH}redrives", body).body
        results += answer["results"]
        body = answer["next"]
        if not options.json:
            for one in answer["results"]:
                print(f"{one['id']}  {one['outcome']}{': ' + one['reason'] if one['reason'] else ''}", flush=True)
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        print(words.counted([one["outcome"] for one in results]))
    return 1 if any(one["outcome"] not in {"handled", "already"} for one in results) else 0


def _discard(api: Admin, options: argparse.Namespace) -> int:
    letters = []
    for named in options.ids:
        letters.append(api.ask("POST", f"{_PATH}discards", {"id": _found(api, named), "reason": options.why}).body)
        if not options.json:
            print(f"Discarded {letters[-1]['id']}; it is kept for the record.")
    if options.json:
        print(json.dumps(letters, indent=1))
    return 0


WORK: Mapping[str, Callable[[Admin, argparse.Namespace], int]] = {
    "list": _list,
    "show": _show,
    "diff": _diff,
    "dry-run": _dry_run,
    "edit": _edit,
    "redrive": _redrive,
    "discard": _discard,
}
