"""Events delivered to an HTTP subscriber and acknowledged, a second, on NATS and RabbitMQ, beside what does less.

The Broker, its server, the subscriber, the load generator and each peer are processes of their own, and the legs of a
round follow each other, so that what else the machine does meets them all. Events wait because the Broker is stopped:
its Trigger has its place in the channel, they are published, then the Broker's process is started. The first ones that
it delivers (connections are made) are not counted. Its acknowledgements are checked at the end: nothing is left.

EVENTS_BACKLOG=1000000 adds how the rate depends on how many events wait (it takes minutes to fill).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from eventing.channels.channel import Delivery, Done
from eventing.channels.connect import connect
from eventing.channels.settings import Settings
from eventing.event import Event
from knative.runtime import child, nats, rabbitmq
from tests.bench import direct
from tests.bench.load import ATTRIBUTES, DATA
from tests.flows.conftest import ROOT, Installation, wait_until

ROUNDS = int(os.environ.get("EVENTS_ROUNDS", "3"))
EVENTS, NOT_COUNTED = 6_000, 500
BACKLOG = int(os.environ.get("EVENTS_BACKLOG", "0"))
FEW, FEW_NOT_COUNTED, FEW_ROUNDS = 1_000, 200, 15
SECONDS, CONNECTIONS = 1.0, 64
_BROKER = "bench"
_ALONE = "the subscriber alone, under a load generator"
_DELIVERED = "Broker: waiting events delivered, acknowledged"
_THROUGH = "Broker: taken at its ingress, delivered, acknowledged"
_PEERS = {"nats": ("nats-py", "FastStream on NATS"), "rabbitmq": ("aio-pika", "FastStream on RabbitMQ")}


def run(_: Installation | None = None) -> None:
    """Print the figures; on servers of its own, which wait for their disk as those of an installation do."""
    for kind in ("nats", *(["rabbitmq"] if rabbitmq.find() else [])):
        with _bench(kind, safe=True) as bench:
            rounds = [_round(bench) for _ in range(ROUNDS)]
        middle = {leg: statistics.median(one[leg] for one in rounds) for leg in rounds[0]}
        print(f"\nEvents a second on {kind} ({len(DATA)} bytes of data; median of {ROUNDS})")
        for leg, rate in middle.items():
            print(f"  {leg:<62}{rate:8.0f}")
        ratio = statistics.median(one[_DELIVERED] / one[_ALONE] for one in rounds)
        print(f"  {'ratio: delivered by the Broker / the subscriber alone':<62}{ratio:8.2f}  (bar: at least 0.50)")
        if BACKLOG and kind == "nats":
            _depth(kind)
        sys.stdout.flush()


def _round(bench: Bench) -> dict[str, float]:
    rates = {_ALONE: bench.load(bench.subscriber, seconds=SECONDS)}
    bench.fill(_BROKER, EVENTS)
    rates[_DELIVERED] = bench.drained(_BROKER, EVENTS, NOT_COUNTED)
    rates[_THROUGH] = bench.through(EVENTS // 2)
    for peer in _PEERS[bench.kind]:
        rates[f"{peer}: published, handled in its process, acknowledged"] = bench.peer(peer)
    return rates


def _depth(kind: str) -> None:
    """A thousand events out of a thousand, then a thousand out of very many, in turns."""
    few, many = [], []
    with _bench(kind, safe=False) as bench:
        bench.fill("many", BACKLOG)
        for _ in range(FEW_ROUNDS):
            bench.fill("few", FEW)
            few.append(bench.drained("few", FEW, FEW_NOT_COUNTED))
            many.append(bench.drained("many", FEW, FEW_NOT_COUNTED, all_of_them=False))
    rate_few, rate_many = statistics.median(few), statistics.median(many)
    print(
        f"  of {FEW:,} waiting {rate_few:.0f}, of {BACKLOG:,} waiting {rate_many:.0f}; median of {FEW_ROUNDS}, "
        f"ratio {rate_many / rate_few:.2f}  (bar: 0.85 to 1.15)"
    )


@dataclass
class Bench:
    """A server, a subscriber, and what is done with them."""

    kind: str
    folder: Path
    url: str
    subscriber: str
    http: httpx.Client

    def load(self, url: str, *, seconds: float = 0.0, count: int = 0) -> float:
        """Requests a second that were answered to the load generator."""
        module = ("-m", "tests.bench.load", url, str(CONNECTIONS), str(seconds), str(count))
        answered, failed, took = json.loads(_said(*module))
        assert failed == 0, f"{failed} of {answered} requests to {url} failed"
        return float(answered / took)

    def peer(self, name: str) -> float:
        """Events a second of a peer."""
        return float(_said("-m", "tests.bench.peers", name, self.url, str(EVENTS)))

    def fill(self, broker: str, count: int) -> None:
        """Have so many events wait for the Trigger of a Broker that does not run."""
        asyncio.run(_fill(self.url, broker, count))

    def drained(self, broker: str, count: int, not_counted: int, *, all_of_them: bool = True) -> float:
        """Events a second that the Broker delivers from its start on, without the first ones."""
        self._forget()
        with self._running(broker):
            wait_until(lambda: self._came() >= count, seconds=60)
        times: list[float] = sorted(self.http.get(f"{self.subscriber}times").json())[:count]
        if all_of_them:
            assert asyncio.run(_left(self.url, broker)) == 0, "not everything was acknowledged"
        return (count - not_counted) / (times[-1] - times[not_counted - 1])

    def through(self, count: int) -> float:
        """Events a second from the first POST at the ingress to the last delivery."""
        self._forget()
        with self._running(_BROKER) as ingress:
            began = time.monotonic()
            self.load(ingress, count=count)
            wait_until(lambda: self._came() >= count, seconds=60)
        return count / (max(self.http.get(f"{self.subscriber}times").json()) - began)

    def _came(self) -> int:
        # Not more often: the subscriber has other things to do.
        time.sleep(0.05)
        return int(self.http.get(f"{self.subscriber}count").text)

    def _forget(self) -> None:
        self.http.delete(f"{self.subscriber}times")

    @contextlib.contextmanager
    def _running(self, broker: str) -> Iterator[str]:
        """The Broker's process; its ingress."""
        port, manifest = child.free_port(), self.folder / f"{broker}.yaml"
        manifest.write_text(yaml.safe_dump_all(_documents(broker, self.subscriber)))
        options = (f"--manifest={manifest}", f"--port={port}", f"--journal={self.folder / broker}.jsonl")
        process = subprocess.Popen(
            [sys.executable, "-m", "eventing.broker", *options], cwd=ROOT, env={**os.environ, "CHANNEL_URL": self.url}
        )
        try:
            wait_until(lambda: child.accepts("127.0.0.1", port))
            yield f"http://127.0.0.1:{port}/bench/{broker}"
        finally:
            process.terminate()
            process.wait(20)


@contextlib.contextmanager
def _bench(kind: str, *, safe: bool) -> Iterator[Bench]:
    """With a server that waits for its disk before it acknowledges, or, of NATS, one that does not."""
    with tempfile.TemporaryDirectory(prefix="wake-bench-") as name, contextlib.ExitStack() as stack:
        folder, port = Path(name), child.free_port()
        server: Any
        if kind == "nats":
            server = nats.start(folder / "server", port, folder / "log", "always" if safe else "2m")
        else:
            server = rabbitmq.start(folder / "server", port, folder / "log")
        stack.callback(server.stop)
        server.wait_until_ready()
        subscriber = stack.enter_context(direct.program("tests.bench.subscriber"))
        http = stack.enter_context(httpx.Client(timeout=60, trust_env=False))
        yield Bench(kind, folder, server.url, f"http://127.0.0.1:{subscriber}/", http)


def _said(*arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=120
    )
    return result.stdout


def _documents(broker: str, subscriber: str) -> list[dict[str, object]]:
    metadata = {"namespace": "bench", "name": broker}
    spec = {
        "broker": broker,
        "subscriber": {"uri": subscriber},
        "filter": {"attributes": {"type": ATTRIBUTES["type"]}},
        "delivery": {"retry": 5},
    }
    return [{"kind": "Broker", "metadata": metadata}, {"kind": "Trigger", "metadata": metadata, "spec": spec}]


async def _fill(url: str, broker: str, count: int) -> None:
    async def take(_: Delivery) -> Done:
        return Done()

    channels = await connect(url, Settings(settle_seconds=0))
    channel = await channels.channel("bench", broker)
    # The Trigger's place has to be there before what it is to get.
    await (await channel.subscribe(f"bench/{broker}", ATTRIBUTES["type"], take)).close()
    fill = time.time_ns()
    for first in range(0, count, 500):
        numbers = range(first, min(count, first + 500))
        await asyncio.gather(*(channel.publish(_event(f"{fill}-{number}")) for number in numbers))
    await channels.close()


async def _left(url: str, broker: str) -> int:
    """How many events come to the Trigger's place that were not acknowledged, within a moment."""
    came = 0

    async def take(_: Delivery) -> Done:
        nonlocal came
        came += 1
        return Done()

    channels = await connect(url, Settings(settle_seconds=0))
    channel = await channels.channel("bench", broker)
    subscription = await channel.subscribe(f"bench/{broker}", ATTRIBUTES["type"], take)
    await asyncio.sleep(0.3)
    await subscription.close()
    await channels.close()
    return came


def _event(name: str) -> Event:
    """As the ingress stores one."""
    arrived = {"knativearrivaltime": "2026-01-31T12:00:00.223456Z", "knativebrokerttl": "255"}
    return Event.of_attributes({**ATTRIBUTES, "id": name, "datacontenttype": "application/json", **arrived}, DATA)


if __name__ == "__main__":
    run()
