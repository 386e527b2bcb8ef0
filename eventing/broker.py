"""The Broker: `python -m eventing.broker --manifest FILE.yaml` serves its ingress and delivers to its Triggers.

FILE holds Knative Broker and Trigger documents in which every reference was resolved to a `uri`. SIGHUP reads it again;
a broken file leaves the last good one in force. SIGTERM finishes what is in hand and exits with 0. Several copies over
the same channel share the work.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import uvicorn

from eventing import trigger as triggers
from eventing.channels.channel import Channel, Channels, ChannelUnavailable
from eventing.channels.nats import NatsChannels
from eventing.dispatcher import Dispatcher
from eventing.httpclient import client
from eventing.ingress import Ingress
from eventing.journal import Journal

_log = logging.getLogger("eventing.broker")
_CONNECT_AGAIN_SECONDS = 0.1
_CONNECTIONS_MAX = 1000


class Broker:
    """Every Broker and Trigger of a manifest, on one set of channels."""

    def __init__(self, channels: Channels, journal: Journal) -> None:
        self.ingress = Ingress(journal)
        self._channels = channels
        self._journal = journal
        self._client: httpx.AsyncClient = client(
            secure=False, timeout=httpx.Timeout(None), connections_max=_CONNECTIONS_MAX
        )
        self._dispatchers: dict[str, Dispatcher] = {}

    async def apply(self, manifest: triggers.Manifest) -> None:
        """Serve this manifest from now on; Triggers that did not change are left as they run.

        Raises:
            ChannelUnavailable: the channel does not answer.
        """
        channels: dict[str, Channel] = {}
        for broker in manifest.brokers:
            namespace, _, name = broker.partition("/")
            channels[broker] = await self._channels.channel(namespace, name)
        wanted = {one.key: one for one in manifest.triggers}
        for key, dispatcher in list(self._dispatchers.items()):
            if key not in wanted or wanted[key].definition != dispatcher.trigger.definition:
                await dispatcher.close()
                del self._dispatchers[key]
        for key, one in wanted.items():
            if key not in self._dispatchers:
                dispatcher = Dispatcher(one, channels[one.broker], self._client, self._journal)
                await dispatcher.open()
                self._dispatchers[key] = dispatcher
        # Last: an event is taken only when every Trigger that wants it has its place in the channel.
        self.ingress.channels = channels

    async def close(self) -> None:
        """Finish the deliveries under way, close every connection."""
        await asyncio.gather(*(dispatcher.close() for dispatcher in self._dispatchers.values()))
        await self._channels.close()
        await self._client.aclose()
        self._journal.close()


class _Server(uvicorn.Server):
    """Leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle none."""
        yield


async def serve(options: argparse.Namespace, channel_url: str) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        InvalidManifest: the manifest cannot be served.
    """
    manifest = triggers.read(options.manifest)
    stop, reread = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reread.set)
    broker = Broker(await _connected(channel_url), Journal(options.journal))
    await _applied(broker, manifest)
    server = _Server(
        uvicorn.Config(
            broker.ingress,
            host=options.host,
            port=options.port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            timeout_keep_alive=60,
        )
    )
    serving = asyncio.create_task(server.serve())
    rereading = asyncio.create_task(_reread(broker, options.manifest, reread))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (rereading, stopping):
        task.cancel()
    server.should_exit = True
    await serving
    await broker.close()


async def _connected(url: str) -> NatsChannels:
    """Connect, for as long as it takes: the channel may be started after us."""
    while True:
        try:
            return await NatsChannels.connect(url)
        except ChannelUnavailable as error:
            _log.warning("channel_unavailable: %s", error)
            await asyncio.sleep(_CONNECT_AGAIN_SECONDS)


async def _applied(broker: Broker, manifest: triggers.Manifest) -> None:
    while True:
        try:
            return await broker.apply(manifest)
        except ChannelUnavailable as error:
            _log.warning("channel_unavailable: %s", error)
            await asyncio.sleep(_CONNECT_AGAIN_SECONDS)


async def _reread(broker: Broker, file: Path, reread: asyncio.Event) -> None:
    while True:
        await reread.wait()
        reread.clear()
        try:
            await _applied(broker, triggers.read(file))
        except triggers.InvalidManifest as error:
            _log.error("manifest_refused, the last good one stays: %s", error)


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m eventing.broker", description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True, help="Broker and Trigger documents")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8080")), help="ingress ($PORT, 8080)")
    parser.add_argument("--journal", type=Path, help="where to note what happens to events (default: nowhere)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    channel_url = os.environ.get("CHANNEL_URL", "nats://127.0.0.1:4222")
    import uvloop  # noqa: PLC0415 - beside its one use.

    try:
        uvloop.run(serve(options, channel_url))
    except triggers.InvalidManifest as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
