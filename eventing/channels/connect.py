"""Channels by URL: `nats://…` is NATS JetStream, `amqp(s)://…` RabbitMQ.

A library is imported only where it is used.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from eventing.channels.channel import Channels
from eventing.channels.settings import Settings

SCHEMES = ("nats", "tls", "amqp", "amqps")


class UnknownChannel(ValueError):
    """A URL that names no channel; the message is a sentence."""


def check(url: str) -> None:
    """Refuse a URL that no channel answers to.

    Raises:
        UnknownChannel: with what it should look like; what it holds is not repeated, it may be a password.
    """
    where = urlsplit(url)
    if where.scheme not in SCHEMES or not where.hostname:
        forms = "nats://HOST:PORT or amqp://USER:PASSWORD@HOST:PORT/VHOST"
        raise UnknownChannel(f"a channel's URL is {forms}, not {where.scheme or 'that'}:…")
    try:
        _ = where.port
    except ValueError as error:
        # Not what it holds: it may be a part of the password.
        raise UnknownChannel(
            "the port in the channel's URL is none; a password that holds any of / # ? @ is percent-encoded"
        ) from error


async def connect(url: str, settings: Settings) -> Channels:
    """Connect to the server of a URL.

    Raises:
        UnknownChannel: its scheme is none of a channel's.
        ChannelUnavailable: the server cannot be reached now.
    """
    check(url)
    if urlsplit(url).scheme.startswith("amqp"):
        from eventing.channels.rabbitmq import RabbitChannels  # noqa: PLC0415 - see the module's docstring.

        return await RabbitChannels.connect(url, settings)
    from eventing.channels.nats import NatsChannels  # noqa: PLC0415 - the same.

    return await NatsChannels.connect(url, settings)


def of_broker(url: str) -> tuple[str, str, str]:
    """The server's URL, the namespace and the name of `nats://HOST?broker=NAMESPACE/NAME`.

    A query, because the path of an AMQP URL is its virtual host.

    Raises:
        UnknownChannel: it names no server or no Broker.
    """
    check(url)
    where = urlsplit(url)
    query = dict(parse_qsl(where.query))
    namespace, _, name = query.pop("broker", "").partition("/")
    if not namespace or not name:
        raise UnknownChannel(
            f"a sink on a channel says whose events it takes: {where.scheme}://HOST?broker=NAMESPACE/NAME"
        )
    return urlunsplit(where._replace(query=urlencode(query))), namespace, name


def shown(url: str) -> str:
    """A URL as it may be printed: without user, password or token."""
    where = urlsplit(url)
    host = where.hostname or ""
    return f"{where.scheme}://{host}{f':{where.port}' if where.port else ''}{where.path}"
