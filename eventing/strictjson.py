"""JSON as RFC 8259 has it, and no more: what `json.loads` lets pass is refused here.

Repeated names, NaN and Infinity, numbers beyond a double and nesting that would exhaust the stack all end as one
exception, so that no body can become a 500 (which an event's sender would repeat for ever).
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# Turning digits into a number takes time quadratic in their count.
_DIGITS_MAX = 400


class InvalidJson(ValueError):
    """The text is not JSON, or more than is taken; the message says what is wrong with it."""


def parse(text: bytes, *, depth_max: int, decimals: bool = False) -> Any:
    """Parse UTF-8 JSON nested at most *depth_max* deep; with *decimals* a fraction keeps the digits that were sent.

    Raises:
        InvalidJson: it is not.
    """
    # Counting is fast and settles nearly every text; only what could be too deep is looked at closely.
    if text.count(b"[") + text.count(b"{") > depth_max and _nesting(text) > depth_max:
        raise InvalidJson(f"the JSON is nested deeper than {depth_max}")
    try:
        value = json.loads(
            text.decode(),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_decimal if decimals else _finite,
            parse_int=_bounded,
        )
        if _SURROGATE.search(text):
            # Half a pair can be written as an escape, and then nowhere else: neither as UTF-8 nor into PostgreSQL.
            json.dumps(value, ensure_ascii=False, default=str).encode()
    except InvalidJson:
        raise
    except UnicodeDecodeError as error:
        raise InvalidJson("the JSON is not UTF-8") from error
    except UnicodeEncodeError as error:
        raise InvalidJson("the JSON has half of a surrogate pair") from error
    except (ValueError, RecursionError) as error:
        raise InvalidJson(f"this is not JSON: {error}") from error
    return value


def _nesting(text: bytes) -> int:
    """How deep brackets outside strings go."""
    depth = deepest = 0
    for token in _TOKEN.finditer(text):
        if token[0] in {b"[", b"{"}:
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in {b"]", b"}"}:
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for index, name in enumerate(names) if name in names[:index])
        raise InvalidJson(f"the JSON has the name {repeated[:80]!r} twice in one object")
    return members


def _refuse_constant(name: str) -> None:
    raise InvalidJson(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise InvalidJson("the JSON has a number that is too large")
    return value


def _decimal(text: str) -> Decimal:
    _finite(text)
    value = Decimal(text)
    if abs(int(value.as_tuple().exponent)) > _DIGITS_MAX or len(text) > _DIGITS_MAX:
        raise InvalidJson("the JSON has a number of absurd size")
    return value


def _bounded(text: str) -> int:
    if len(text) > _DIGITS_MAX:
        raise InvalidJson("the JSON has a number that is too large")
    return int(text)
