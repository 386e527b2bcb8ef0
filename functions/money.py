"""Money: a whole number of minor units and an ISO 4217 currency; outside, a decimal string. Never a float."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

MINOR_MAX = 10**12
# ISO 4217: digits after the point, for the currencies that are taken.
_TWO_DIGITS = """
    AED ARS AUD BGN BRL CAD CHF CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR KES MAD MXN MYR NGN NOK NZD PEN PHP PLN
    QAR RON RSD SAR SEK SGD THB TRY TWD UAH USD ZAR
"""
EXPONENTS = {
    **dict.fromkeys(_TWO_DIGITS.split(), 2),
    **dict.fromkeys(["CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"], 0),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}
# A plain decimal: no sign, no exponent, no zero in front.
DECIMAL = r"^(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,6})?$"
_DECIMAL = re.compile(DECIMAL)


class InvalidMoney(ValueError):
    """An amount that is none in its currency; the message says why."""


@dataclass(frozen=True)
class Money:
    """So many minor units (cents, yen, fils) of a currency."""

    minor: int
    currency: str

    @classmethod
    def parse(cls, amount: str, currency: str) -> Money:
        """The money of a decimal string such as "99.50".

        Raises:
            InvalidMoney: no such currency, more digits than it has, nothing, or too much.
        """
        exponent = EXPONENTS.get(currency)
        if exponent is None:
            raise InvalidMoney("this currency is not taken; it has to be an ISO 4217 code such as EUR")
        if not _DECIMAL.fullmatch(amount):
            raise InvalidMoney('the amount has to be a plain decimal such as "99.50"')
        whole, _, fraction = amount.partition(".")
        if len(fraction.rstrip("0")) > exponent:
            raise InvalidMoney(f"{currency} has {exponent} digits after the point")
        minor = int(whole + fraction.rstrip("0").ljust(exponent, "0"))
        if not 0 < minor <= MINOR_MAX:
            raise InvalidMoney("the amount has to be more than nothing and not absurdly large")
        return cls(minor, currency)

    @property
    def amount(self) -> str:
        """The decimal string, with all of the currency's digits."""
        return decimal(self.minor, self.currency)


def decimal(minor: int, currency: str) -> str:
    """Minor units as a decimal string: 9950 EUR is "99.50"."""
    exponent = EXPONENTS[currency]
    if exponent == 0:
        return str(minor)
    digits = str(minor).rjust(exponent + 1, "0")
    return f"{digits[:-exponent]}.{digits[-exponent:]}"


def _text(value: Any) -> str:
    """A JSON string as it is, a JSON number as its digits."""
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise ValueError('the amount has to be a decimal string such as "99.50"')  # noqa: TRY004 - for pydantic.
    return value if isinstance(value, str) else str(value)


Amount = Annotated[str, BeforeValidator(_text), Field(max_length=24, examples=["99.50"])]
