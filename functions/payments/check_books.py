"""`python -m functions.payments.check_books`: every difference between ledger, orders and processor; exits 1 on any.

`wake check-books` runs it with payments-reconcile's environment. --at-rest compares also what is under way.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from datetime import timedelta

from functions.database import Database, DatabaseSettings
from functions.errors import Unavailable
from functions.payments import books
from functions.payments.cards import port
from functions.payments.reconcile import orders


async def check(under_way: timedelta) -> list[str]:
    """The differences; raises Unavailable or ProcessorSilent."""
    payments = Database(DatabaseSettings.from_environment(os.environ, migrations="payments", pool_max=1))
    await payments.open()
    try:
        async with orders() as ordered, port.chosen() as processor:
            return [one async for one in books.differences(payments, ordered, processor, under_way=under_way)]
    finally:
        await payments.close()


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(prog="check_books", description=__doc__)
    parser.add_argument("--at-rest", action="store_true", help="nothing is under way: compare everything")
    options = parser.parse_args()
    try:
        found = asyncio.run(check(timedelta(0) if options.at_rest else books.UNDER_WAY))
    except (Unavailable, port.ProcessorSilent) as error:
        sys.exit(f"the books cannot be compared: {error}")
    print("\n".join(found) or "The books balance: ledger, orders and card processor say the same.")  # noqa: T201
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
