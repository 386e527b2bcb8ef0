"""`python -m functions.outbox.republish --since T`: fills a broker again from the outboxes, under the same ids."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from datetime import UTC, datetime, timedelta

from eventing import outbox
from eventing.publisher import PublishFailed
from functions.outbox import outboxes

_SPAN = re.compile(r"^(?P<count>\d{1,6})(?P<unit>[smhd])$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str, now: datetime) -> datetime:
    """A time: RFC 3339, or how long ago (90m, 2h, 3d).

    Raises:
        ValueError: it is neither.
    """
    if (span := _SPAN.match(text)) is not None:
        return now - timedelta(**{_UNITS[span["unit"]]: int(span["count"])})
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError("a time needs an offset, such as 2026-01-31T12:00:00Z")
    return when


async def republish(since: datetime) -> int:
    """Publish again what was published since a time; answers how many events."""
    async with outboxes.opened() as opened:
        return sum([await outbox.republish(one.connections, opened.publisher, since) for one in opened.databases])


def main() -> None:
    """The program; exits with 1 where the Broker or a database does not answer, 2 where the time is none."""
    parser = argparse.ArgumentParser(prog="python -m functions.outbox.republish", description=__doc__)
    parser.add_argument("--since", required=True, help="RFC 3339, or a span such as 90m, 2h, 3d")
    text = parser.parse_args().since
    try:
        since = moment(text, datetime.now(UTC))
    except ValueError as error:
        parser.error(f"--since {text}: {error}")
    try:
        count = asyncio.run(republish(since))
    except (PublishFailed, OSError) as error:
        sys.exit(f"not all was sent again: {error}; run it once more when that is back")
    print(f"{count} events since {since.isoformat(timespec='seconds')} sent again, under the same ids.")  # noqa: T201


if __name__ == "__main__":
    main()
