"""CESQL by the sentences of its specification."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventing.cesql import InvalidExpression, compile_expression

EVENT = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "orders.placed.v1", "subject": "42", "vip": "true"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("TRUE", True),
        ("false", False),
        ("type = 'orders.placed.v1'", True),
        ("type != 'orders.placed.v1'", False),
        ('type <> "x"', True),
        ("subject = 42", True),
        ("vip = TRUE", True),
        ("vip AND subject > 40", True),
        ("NOT vip", False),
        ("TRUE XOR TRUE", False),
        ("FALSE OR TRUE AND FALSE", False),
        ("(1 + 2) * 3 = 9", True),
        ("1 + 2 * 3", 7),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("7 % -2", 1),
        ("type LIKE 'orders.%'", True),
        ("type LIKE 'orders.placed.v_'", True),
        ("type NOT LIKE 'users.%'", True),
        ("'50%' LIKE '50\\%'", True),
        ("'500' LIKE '50\\%'", False),
        ("'a\nb' LIKE 'a%'", True),
        ("EXISTS subject", True),
        ("EXISTS nothing", False),
        ("NOT EXISTS nothing", True),
        ("EXISTS id", True),
        ("type IN ('a', 'orders.placed.v1')", True),
        ("subject IN (41, 42)", True),
        ("subject NOT IN ('1')", True),
        ("LENGTH(type)", 16),
        ("length('')", 0),
        ("CONCAT('a', 1, TRUE)", "a1true"),
        ("CONCAT_WS('-', 'a', 'b')", "a-b"),
        ("UPPER('a') = 'A' AND LOWER('A') = 'a'", True),
        ("TRIM('  a ')", "a"),
        ("LEFT('abc', 2)", "ab"),
        ("RIGHT('abc', 2)", "bc"),
        ("RIGHT('abc', 9)", "abc"),
        ("SUBSTRING('abcdef', 2)", "bcdef"),
        ("SUBSTRING('abcdef', -2)", "ef"),
        ("SUBSTRING('abcdef', 2, 3)", "bcd"),
        ("ABS(-5)", 5),
        ("INT('12') + 1", 13),
        ("BOOL('TRUE')", True),
        ("STRING(1) = '1'", True),
        ("'it\\'s'", "it's"),
        ("false AND 1 / 0 = 1", False),
    ],
)
def test_it_is(text: str, value: object) -> None:
    """Value and no error."""
    result = compile_expression(text)(EVENT)

    assert (result.value, result.errors) == (value, ())
    assert type(result.value) is type(value)


@pytest.mark.parametrize(
    ("text", "value", "error"),
    [
        ("1 / 0", 0, "MathError"),
        ("2147483647 + 1", 2147483647, "MathError"),
        ("ABS(-2147483648)", 2147483647, "MathError"),
        ("missing = ''", False, "MissingAttributeError"),
        ("missing", False, "MissingAttributeError"),
        ("1 / missing", 0, "MissingAttributeError"),
        ("LENGTH(missing)", 0, "MissingAttributeError"),
        ("missing OR TRUE", False, "MissingAttributeError"),
        ("type + 1", 1, "CastError"),
        ("NOT type", True, "CastError"),
        ("INT('99999999999')", 0, "CastError"),
        ("NOPE(1)", False, "MissingFunctionError"),
        ("LENGTH('a', 'b')", False, "MissingFunctionError"),
        ("SUBSTRING('abc', 9)", "", "FunctionEvaluationError"),
        ("LEFT('abc', -1)", "abc", "FunctionEvaluationError"),
    ],
)
def test_it_is_with_an_error(text: str, value: object, error: str) -> None:
    """A value all the same: the language is total."""
    result = compile_expression(text)(EVENT)

    assert result.value == value
    assert result.errors[0].startswith(error)


@pytest.mark.parametrize(
    "text", ["", "1 +", "type LIKE type", "(1", "1)", "a b", "EXISTS 1", "'open", "a_b = 1", "#", "9" * 12, "(" * 200]
)
def test_it_is_no_expression(text: str) -> None:
    """ParseError, when it is compiled."""
    with pytest.raises(InvalidExpression):
        compile_expression(text)


@given(st.text(alphabet="ab1 '\"=<>!%()+-*/,.\\_ANDORNOTLIKEINEXISTS", max_size=40))
def test_no_text_breaks_it(text: str) -> None:
    """It is refused, or it has a value for every event."""
    with contextlib.suppress(InvalidExpression):
        assert isinstance(compile_expression(text)(EVENT).value, str | int)
