"""Publishes straight into a Broker's stream or exchange, without its ingress."""

from __future__ import annotations

import asyncio
import contextlib
import os

from eventing.channels.channel import Channel, Channels, ChannelUnavailable
from eventing.channels.connect import connect, of_broker
from eventing.channels.settings import Settings
from eventing.event import Event


class ChannelSink:
    """One Broker's events; the connection is made when the first event goes out."""

    def __init__(self, url: str) -> None:
        """*url* is `nats://HOST?broker=NAMESPACE/NAME` or `amqp://HOST/VHOST?broker=NAMESPACE/NAME`.

        Raises:
            ValueError: it is not.
        """
        self._url, self._namespace, self._name = of_broker(url)
        self._settings = Settings.of_environment(os.environ)
        self._channels: Channels | None = None
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()

    async def publish(self, event: Event) -> None:
        """Return once the server has acknowledged that the event is stored.

        Raises:
            ChannelUnavailable: it has not.
        """
        channel = self._channel
        if channel is None:
            async with self._opening:
                channel = self._channel = self._channel or await self._open()
        await channel.publish(event)

    async def _open(self) -> Channel:
        if self._channels is None:
            self._channels = await connect(self._url, self._settings)
        return await self._channels.channel(self._namespace, self._name)

    async def close(self) -> None:
        """Close the connection."""
        channels, self._channels, self._channel = self._channels, None, None
        if channels is not None:
            with contextlib.suppress(ChannelUnavailable):
                await channels.close()
