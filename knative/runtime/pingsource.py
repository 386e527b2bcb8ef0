"""PingSource: sends an event on a schedule (Knative Eventing, sources.knative.dev/v1).

As Knative: the type is `dev.knative.sources.ping`, an event that cannot be delivered is tried five more times with
exponential back-off from 50 ms and is then lost, and nothing is caught up after a time of not running. One exception,
because a laptop is not always on: after an unclean end every source fires once at start, which is when there may be
something to sweep.
"""

from __future__ import annotations

import asyncio
import http.client
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from cronsim import CronSim

from knative.runtime.resources import PingSource

_RETRIES = 5
_RETRY_DELAY_SECONDS = 0.05
_TIMEOUT_SECONDS = 60.0


def next_tick(schedule: str, zone: str | None, now: datetime) -> datetime:
    """When a schedule (five fields, or six with seconds first) is due next after *now*."""
    where: tzinfo = ZoneInfo(zone) if zone else UTC
    descriptors = {
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
        "@monthly": "0 0 1 * *",
        "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@hourly": "0 * * * *",
    }
    tick: datetime = next(CronSim(descriptors.get(schedule, schedule), now.astimezone(where)))
    return tick.astimezone(UTC)


class Pinger:
    """Sends one PingSource's events."""

    def __init__(self, source: PingSource, url: str, gateway: tuple[str, int], tell: Callable[[str], None]) -> None:
        self._source = source
        self._url = urlsplit(url)
        # The gateway stands in for the cluster's DNS; an address on this machine is reached directly.
        self._connect_to = gateway if str(self._url.hostname).endswith(".cluster.local") else None
        self._tell = tell

    async def run(self) -> None:
        """Tick for ever."""
        while True:
            due = next_tick(self._source.schedule, self._source.timezone, datetime.now(UTC))
            await asyncio.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
            await self.send()

    async def send(self) -> None:
        """Send one event, with retries."""
        headers = {
            "ce-specversion": "1.0",
            "ce-id": str(uuid.uuid4()),
            "ce-type": "dev.knative.sources.ping",
            "ce-source": f"/apis/v1/namespaces/{self._source.namespace}/pingsources/{self._source.name}",
            "ce-time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "content-type": self._source.content_type,
            **{f"ce-{name}": value for name, value in self._source.ce_overrides.items()},
        }
        reason = ""
        for attempt in range(_RETRIES + 1):
            if attempt:
                await asyncio.sleep(_RETRY_DELAY_SECONDS * 2 ** (attempt - 1))
            try:
                status = await asyncio.to_thread(self._post, headers)
            except (OSError, http.client.HTTPException) as error:
                reason = str(error) or type(error).__name__
                continue
            if status < 300:
                return
            reason = f"HTTP {status}"
        self._tell(f"PingSource {self._source.name}: {self._url.geturl()} took no event: {reason}")

    def _post(self, headers: dict[str, str]) -> int:
        host, port = self._connect_to or (str(self._url.hostname), self._url.port or 80)
        connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("POST", self._url.path or "/", self._source.data, {"Host": self._url.netloc, **headers})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()
