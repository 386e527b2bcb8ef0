"""CloudEvents SQL (CESQL 1.0.0): expressions over an event's context attributes. Pure.

A total language: every expression has a value, and a list of errors beside it. Source: CloudEvents, cesql/spec.md.
`compile_expression` parses once; what it answers is called for each event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Value: TypeAlias = "str | int | bool"
_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1
_REQUIRED = frozenset({"specversion", "id", "source", "type"})
_ZERO: Mapping[type, Value] = {str: "", int: 0, bool: False}
_KEYWORDS = frozenset({"AND", "OR", "XOR", "NOT", "IN", "LIKE", "EXISTS", "TRUE", "FALSE"})
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<string>'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\")"
    r"|(?P<operator><=|>=|!=|<>|[-+*/%=<>(),]))"
)
_DEPTH_MAX = 100


class InvalidExpression(ValueError):
    """Text that is no CESQL expression; the message says where."""


@dataclass
class _Context:
    """One evaluation: the event's attributes, and what went wrong so far."""

    event: Mapping[str, str]
    errors: list[str] = field(default_factory=list)


Node: TypeAlias = Callable[[_Context], Value]


@dataclass(frozen=True)
class Result:
    """What an expression came to; Knative takes an event only for True without errors."""

    value: Value
    errors: tuple[str, ...]


def compile_expression(text: str) -> Callable[[Mapping[str, str]], Result]:
    """Parse an expression.

    Raises:
        InvalidExpression: it cannot be parsed.
    """
    node = _Parser(text).parse()

    def evaluate(event: Mapping[str, str]) -> Result:
        context = _Context(event)
        try:
            value = node(context)
        except _Missing as missing:
            value = False
            context.errors.append(str(missing))
        return Result(value, tuple(context.errors))

    return evaluate


class _Missing(Exception):
    """An attribute that the event does not have; the sub-expression around it becomes its type's zero value."""


class _Parser:
    """Recursive descent, loosest binding first."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def parse(self) -> Node:
        node = self._logic()
        if self._at < len(self._tokens):
            raise InvalidExpression(f"CESQL: {self._tokens[self._at][1]!r} is not expected here")
        return node

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "the end")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token

    def _takes(self, *wanted: str) -> str | None:
        kind, text = self._peek()
        if kind in {"operator", "keyword"} and text in wanted:
            self._at += 1
            return text
        return None

    def _expect(self, wanted: str) -> None:
        if self._takes(wanted) is None:
            raise InvalidExpression(f"CESQL: {wanted!r} is expected instead of {self._peek()[1]!r}")

    def _logic(self) -> Node:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise InvalidExpression(f"CESQL: nested deeper than {_DEPTH_MAX}")
        left = self._comparison()
        while (operator := self._takes("AND", "OR", "XOR")) is not None:
            left = _logic(operator, left, self._comparison())
        self._depth -= 1
        return left

    def _comparison(self) -> Node:
        left = self._sum()
        while (operator := self._takes("=", "!=", "<>", "<", "<=", ">", ">=")) is not None:
            left = _compared(operator, left, self._sum())
        return left

    def _sum(self) -> Node:
        left = self._product()
        while (operator := self._takes("+", "-")) is not None:
            left = _arithmetic(operator, left, self._product())
        return left

    def _product(self) -> Node:
        left = self._membership()
        while (operator := self._takes("*", "/", "%")) is not None:
            left = _arithmetic(operator, left, self._membership())
        return left

    def _membership(self) -> Node:
        left = self._like()
        while True:
            start = self._at
            negated = self._takes("NOT") is not None
            if self._takes("IN") is None:
                self._at = start
                return left
            left = _negated(_in(left, self._list()), negated=negated)

    def _like(self) -> Node:
        left = self._unary()
        while True:
            start = self._at
            negated = self._takes("NOT") is not None
            if self._takes("LIKE") is None:
                self._at = start
                return left
            kind, text = self._next()
            if kind != "string":
                raise InvalidExpression("CESQL: LIKE takes a string literal")
            left = _negated(_like(left, _pattern(text)), negated=negated)

    def _unary(self) -> Node:
        if self._takes("NOT") is not None:
            return _negated(_typed(self._unary(), bool), negated=True)
        if self._takes("-") is not None:
            operand = _typed(self._unary(), int)
            return lambda context: _integer(-int(operand(context)), context)
        if self._takes("EXISTS") is not None:
            kind, name = self._next()
            if kind != "name":
                raise InvalidExpression("CESQL: EXISTS takes an attribute's name")
            return lambda context: name.lower() in _REQUIRED or name.lower() in context.event
        return self._primary()

    def _primary(self) -> Node:
        kind, text = self._next()
        if kind == "number":
            number = int(text)
            if number > _INT_MAX + 1:
                raise InvalidExpression(f"CESQL: {text} is no 32-bit integer")
            return lambda context: _integer(number, context)
        if kind == "string":
            return lambda _: text
        if kind == "keyword" and text in {"TRUE", "FALSE"}:
            return lambda _: text == "TRUE"
        if kind == "operator" and text == "(":
            inner = self._logic()
            self._expect(")")
            return inner
        if kind == "name":
            if self._takes("(") is not None:
                return _called(text.upper(), self._arguments())
            return _attribute(text)
        raise InvalidExpression(f"CESQL: {text!r} is not expected here")

    def _list(self) -> list[Node]:
        self._expect("(")
        return self._arguments()

    def _arguments(self) -> list[Node]:
        if self._takes(")") is not None:
            return []
        found = [self._logic()]
        while self._takes(",") is not None:
            found.append(self._logic())
        self._expect(")")
        return found


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise InvalidExpression(f"CESQL: {text[at:].strip()[:20]!r} is not expected here")
        at = match.end()
        kind = str(match.lastgroup)
        value = match[kind]
        if kind == "string":
            value = re.sub(r"\\(['\"\\])", r"\1", value[1:-1])
        elif kind == "name" and value.upper() in _KEYWORDS:
            kind, value = "keyword", value.upper()
        found.append((kind, value))
    return found


def _attribute(name: str) -> Node:
    if not re.fullmatch(r"[A-Za-z0-9]+", name):
        raise InvalidExpression(f"CESQL: {name!r} is no attribute name")
    key = name.lower()

    def look_up(context: _Context) -> Value:
        if key not in context.event:
            raise _Missing(f"MissingAttributeError: the event has no {key}")
        return context.event[key]

    return look_up


def _guarded(kind: type, node: Node) -> Node:
    """A sub-expression around a missing attribute is the zero value of its own type, and an error."""

    def evaluate(context: _Context) -> Value:
        try:
            return node(context)
        except _Missing as missing:
            context.errors.append(str(missing))
            return _ZERO[kind]

    return evaluate


def _typed(node: Node, kind: type) -> Node:
    return lambda context: _cast(node(context), kind, context)


def _cast(value: Value, kind: type, context: _Context) -> Value:
    if type(value) is kind:
        return value
    cast: Value | None
    if kind is str:
        cast = str(value).lower() if isinstance(value, bool) else str(value)
    elif isinstance(value, str):
        cast = _of_text(value, kind)
    else:
        cast = kind(value)
    if cast is None:
        context.errors.append(f"CastError: {value!r} is no {kind.__name__}")
        return _ZERO[kind]
    return cast


def _of_text(text: str, kind: type) -> Value | None:
    """An integer or a Boolean, if the text is one."""
    if kind is int:
        return int(text) if re.fullmatch(r"[+-]?\d{1,10}", text) and _INT_MIN <= int(text) <= _INT_MAX else None
    return {"true": True, "false": False}.get(text.lower())


def _integer(value: int, context: _Context) -> int:
    if _INT_MIN <= value <= _INT_MAX:
        return value
    context.errors.append("MathError: beyond 32 bits")
    return max(_INT_MIN, min(_INT_MAX, value))


def _logic(operator: str, left: Node, right: Node) -> Node:
    first, second = _typed(left, bool), _typed(right, bool)
    if operator == "AND":
        return _guarded(bool, lambda context: bool(first(context)) and bool(second(context)))
    if operator == "OR":
        return _guarded(bool, lambda context: bool(first(context)) or bool(second(context)))
    return _guarded(bool, lambda context: bool(first(context)) != bool(second(context)))


def _compared(operator: str, left: Node, right: Node) -> Node:
    def equal(context: _Context) -> Value:
        # The right operand's type decides.
        second = right(context)
        return (_cast(left(context), type(second), context) == second) is (operator == "=")

    def ordered(context: _Context) -> Value:
        first, second = _cast(left(context), int, context), _cast(right(context), int, context)
        return {"<": first < second, "<=": first <= second, ">": first > second, ">=": first >= second}[  # type: ignore[operator]
            operator
        ]

    return _guarded(bool, equal if operator in {"=", "!=", "<>"} else ordered)


def _arithmetic(operator: str, left: Node, right: Node) -> Node:
    def compute(context: _Context) -> Value:
        first = int(_cast(left(context), int, context))
        second = int(_cast(right(context), int, context))
        if operator in "+-*":
            return _integer({"+": first + second, "-": first - second, "*": first * second}[operator], context)
        if second == 0:
            context.errors.append("MathError: division by zero")
            return 0
        # Towards zero, unlike Python's.
        quotient = abs(first) // abs(second) * (1 if (first < 0) == (second < 0) else -1)
        return _integer(quotient if operator == "/" else first - quotient * second, context)

    return _guarded(int, compute)


def _negated(node: Node, *, negated: bool) -> Node:
    return _guarded(bool, (lambda context: not node(context)) if negated else node)


def _in(left: Node, members: Sequence[Node]) -> Node:
    def contained(context: _Context) -> Value:
        value = left(context)
        return any(_cast(member(context), type(value), context) == value for member in members)

    return _guarded(bool, contained)


def _pattern(text: str) -> re.Pattern[str]:
    parts = re.findall(r"\\[%_]|.", text, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    return re.compile("".join(wild.get(one) or re.escape(one[-1]) for one in parts), re.DOTALL)


def _like(left: Node, pattern: re.Pattern[str]) -> Node:
    return _guarded(bool, lambda context: pattern.fullmatch(str(_cast(left(context), str, context))) is not None)


def _substring(context: _Context, text: str, position: int, length: int | None = None) -> str:
    if length is not None and length < 0:
        context.errors.append("FunctionEvaluationError: SUBSTRING with a negative length")
        return ""
    if position == 0:
        return ""
    if abs(position) > len(text):
        context.errors.append("FunctionEvaluationError: SUBSTRING beyond the text")
        return ""
    begin = position - 1 if position > 0 else len(text) + position
    return text[begin : None if length is None else begin + length]


def _sided(context: _Context, name: str, text: str, length: int) -> str:
    if length < 0:
        context.errors.append(f"FunctionEvaluationError: {name} with a negative length")
        return text
    return text[:length] if name == "LEFT" else text[max(0, len(text) - length) :]


def _absolute(context: _Context, value: int) -> int:
    return _integer(abs(value), context)


# Name and number of arguments: their types, the answer's type, and the function.
_FUNCTIONS: Mapping[tuple[str, int], tuple[tuple[type, ...], type, Callable[..., Any]]] = {
    ("LENGTH", 1): ((str,), int, lambda _, text: len(text)),
    ("LOWER", 1): ((str,), str, lambda _, text: text.lower()),
    ("UPPER", 1): ((str,), str, lambda _, text: text.upper()),
    ("TRIM", 1): ((str,), str, lambda _, text: text.strip()),
    ("LEFT", 2): ((str, int), str, lambda context, text, length: _sided(context, "LEFT", text, length)),
    ("RIGHT", 2): ((str, int), str, lambda context, text, length: _sided(context, "RIGHT", text, length)),
    ("SUBSTRING", 2): ((str, int), str, _substring),
    ("SUBSTRING", 3): ((str, int, int), str, _substring),
    ("ABS", 1): ((int,), int, _absolute),
    ("INT", 1): ((int,), int, lambda _, value: value),
    ("BOOL", 1): ((bool,), bool, lambda _, value: value),
    ("STRING", 1): ((str,), str, lambda _, value: value),
}


def _called(name: str, arguments: Sequence[Node]) -> Node:
    if name == "CONCAT" or (name == "CONCAT_WS" and arguments):
        texts = [_typed(one, str) for one in arguments]

        def join(context: _Context) -> Value:
            values = [str(one(context)) for one in texts]
            return "".join(values) if name == "CONCAT" else values[0].join(values[1:])

        return _guarded(str, join)
    found = _FUNCTIONS.get((name, len(arguments)))
    if found is None:

        def missing(context: _Context) -> Value:
            context.errors.append(f"MissingFunctionError: {name} with {len(arguments)} arguments")
            return False

        return missing
    kinds, kind, function = found
    typed = [_typed(one, wanted) for one, wanted in zip(arguments, kinds, strict=True)]

    def call(context: _Context) -> Value:
        value: Value = function(context, *(one(context) for one in typed))
        return value

    return _guarded(kind, call)
