"""The events that were published a moment ago, for channels that recognise no repetition themselves."""

from __future__ import annotations

import time
from collections import OrderedDict

KEPT_SECONDS = 120.0
_EVENTS_MAX = 20_000

Identity = tuple[str, str, str]


class Recent:
    """Remembers where an event went, its source and its id for two minutes; the oldest go first when there are many."""

    def __init__(self) -> None:
        self._until: OrderedDict[Identity, float] = OrderedDict()

    def __contains__(self, identity: Identity) -> bool:
        return self._until.get(identity, 0.0) > time.monotonic()

    def add(self, identity: Identity) -> None:
        """Remember it from now on."""
        now = time.monotonic()
        self._until[identity] = now + KEPT_SECONDS
        self._until.move_to_end(identity)
        while len(self._until) > _EVENTS_MAX or next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._until.clear()
