"""The Broker: `python -m eventing.broker --manifest FILE.yaml` serves its ingress and delivers to its Triggers.

It needs a NATS or RabbitMQ server and no Knative. FILE holds Broker and Trigger documents (Channels and Subscriptions
too) in which every subscriber and sink is a `uri`. SIGHUP reads it again; a broken file leaves the last good one in
force. SIGTERM finishes what is in hand and exits with 0. Several copies over the same server share the work.
`docs/guides/channels.md` lists the variables.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar

import uvicorn

from eventing import measures, passwords
from eventing import trigger as triggers
from eventing.channels.channel import Channel, Channels, ChannelUnavailable
from eventing.channels.connect import UnknownChannel, check, connect
from eventing.channels.settings import Settings
from eventing.dispatcher import Dispatcher
from eventing.ingress import Ingress
from eventing.journal import Journal
from eventing.poster import Poster

_log = logging.getLogger("eventing.broker")
# Any of them, in this order.
_URLS = ("CHANNEL_URL", "NATS_URL", "RABBITMQ_URL")
_CONNECT_AGAIN_SECONDS = (0.1, 0.1, 0.2, 0.5, 1.0)
T = TypeVar("T")


class Broker:
    """Every Broker and Trigger of a manifest, on one set of channels."""

    def __init__(self, channels: Channels, journal: Journal) -> None:
        self.ingress = Ingress(journal)
        self.ingress.measure = self.measured
        self._channels = channels
        self._journal = journal
        self._poster = Poster()
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
            if key not in wanted:
                await dispatcher.forget()
            elif wanted[key].definition != dispatcher.trigger.definition:
                await dispatcher.close()
            else:
                continue
            del self._dispatchers[key]
        new = [one for key, one in wanted.items() if key not in self._dispatchers]
        await asyncio.gather(*(self._open(one, channels[one.broker]) for one in new))
        # Last: an event is taken only when every Trigger that wants it has its place in the channel.
        self.ingress.channels = channels

    async def _open(self, trigger: triggers.Trigger, channel: Channel) -> None:
        dispatcher = Dispatcher(trigger, channel, self._poster, self._journal)
        await dispatcher.open()
        self._dispatchers[trigger.key] = dispatcher

    async def measured(self) -> str:
        """What Prometheus is shown."""
        dispatchers = list(self._dispatchers.values())
        triggers = [(one.trigger.broker, one.trigger.name) for one in dispatchers]
        backlogs = await measures.waiting(dispatchers)
        brokers = self.ingress.channels
        lines = measures.lines(self._journal.happened, self.ingress.unstored, brokers, triggers, backlogs)
        return "\n".join(lines) + "\n"

    async def close(self) -> None:
        """Finish the deliveries under way, close every connection."""
        await asyncio.gather(*(dispatcher.close() for dispatcher in self._dispatchers.values()))
        await self._channels.close()
        await self._poster.close()
        self._journal.close()


class _Server(uvicorn.Server):
    """Leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle none."""
        yield


async def serve(options: argparse.Namespace, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        InvalidManifest: the manifest cannot be served.
        UnknownChannel: the channel's URL is of no channel.
        OSError: the port cannot be listened on.
    """
    check(options.channel)
    manifest = triggers.read(options.manifest)
    # Bound now, so that a port that is taken is said at once, and listened on when the Triggers have their places.
    listener = socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((options.host, options.port))
    stop, reread = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reread.set)
    stopping = asyncio.create_task(stop.wait())
    starting = asyncio.create_task(_started(options, settings, manifest))
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return
    broker = starting.result()
    server = _Server(
        uvicorn.Config(
            broker.ingress,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            timeout_keep_alive=60,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    rereading = asyncio.create_task(_reread(broker, options.manifest, reread))
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (rereading, stopping):
        task.cancel()
    server.should_exit = True
    await serving
    await broker.close()


async def _started(options: argparse.Namespace, settings: Settings, manifest: triggers.Manifest) -> Broker:
    channels = await _patiently(lambda: connect(options.channel, settings))
    broker = Broker(channels, Journal(options.journal))
    await _patiently(lambda: broker.apply(manifest))
    return broker


async def _patiently(attempt: Callable[[], Awaitable[T]]) -> T:
    """Try for as long as it takes: the server may be started after us. Each reason is said once."""
    said = ""
    for number in count():
        try:
            return await attempt()
        except ChannelUnavailable as error:
            if str(error) != said:
                said = str(error)
                _log.warning("%s; it is tried until it is there", said)
            await asyncio.sleep(_CONNECT_AGAIN_SECONDS[min(number, len(_CONNECT_AGAIN_SECONDS) - 1)])
    raise AssertionError


async def _reread(broker: Broker, file: Path, reread: asyncio.Event) -> None:
    while True:
        await reread.wait()
        reread.clear()
        try:
            manifest = triggers.read(file)
            await _patiently(partial(broker.apply, manifest))
        except triggers.InvalidManifest as error:
            _log.error("manifest_refused, the last good one stays: %s", error)


def _port(text: str) -> int:
    """A port; 0 is any that is free."""
    if not (text.isascii() and text.isdigit() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: that is a number from 1 to 65535")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    parser = argparse.ArgumentParser(
        prog="python -m eventing.broker", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--manifest", type=Path, required=True, help="Broker and Trigger documents")
    parser.add_argument(
        "--channel",
        metavar="URL",
        default=next(filter(None, map(os.environ.get, _URLS)), "nats://127.0.0.1:4222"),
        help=f"nats://… or amqp://… ({', '.join(_URLS)}, which other users cannot read; nats://127.0.0.1:4222)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    # A default that is text is read as the argument would be.
    parser.add_argument("--port", type=_port, default=os.environ.get("PORT", "8080"), help="ingress ($PORT, 8080)")
    parser.add_argument("--journal", type=Path, help="where to note what happens to events (default: nowhere)")
    options = parser.parse_args(arguments)
    if passwords.is_open(options.channel):
        sys.exit(
            f"The channel's password ({', '.join(_URLS)}) is a placeholder, or one that everybody knows: "
            "put one of your own into the Secret that it comes from"
        )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    # The libraries' own words about lost connections come beside ours, and with whole tracebacks.
    for name in ("aiormq", "aio_pika", "nats"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    import uvloop  # noqa: PLC0415 - beside its one use.

    try:
        uvloop.run(serve(options, Settings.of_environment(os.environ)))
    except (triggers.InvalidManifest, UnknownChannel, ValueError) as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(
            f"Port {options.port} on {options.host} cannot be listened on: {error.strerror}. Choose another --port."
        )


if __name__ == "__main__":
    main()
