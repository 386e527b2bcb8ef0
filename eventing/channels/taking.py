"""What every channel does with a `take` that raises: the event comes again, but not in a tight loop."""

from __future__ import annotations

import logging

from eventing.channels.channel import Again, Delivery, Done, Take
from eventing.channels.lanes import NotTaken

_log = logging.getLogger(__name__)
_RAISED_AGAIN_SECONDS = 1.0


async def answer(take: Take, delivery: Delivery) -> Done | Again:
    """What *take* answers.

    Raises:
        NotTaken: the subscription was closed before the event had its turn.
    """
    try:
        return await take(delivery)
    except NotTaken:
        raise
    except Exception:  # noqa: BLE001 - whatever it was, the event is not lost.
        _log.exception("delivery_failed")
        return Again(_RAISED_AGAIN_SECONDS)
