"""`python -m eventing.ping`: sends one event of Knative's PingSource to K_SINK, for a CronJob to run.

Exits with 0 once the sink has answered 2xx, else with 1: the Job's own retries are the retries.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from eventing.event import Event, new_id
from eventing.publisher import Publisher, PublishFailed

TYPE = "dev.knative.sources.ping"


def source(namespace: str, name: str) -> str:
    """What Knative's PingSource of this name says it is."""
    return f"/apis/v1/namespaces/{namespace}/pingsources/{name}"


async def send(publisher: Publisher, event: Event) -> None:
    """Send it, once.

    Raises:
        PublishFailed: the sink did not take it.
    """
    try:
        await publisher.publish(event)
    finally:
        await publisher.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m eventing.ping", description=__doc__)
    parser.add_argument("--source", required=True, help="the event's source")
    parser.add_argument("--content-type", default="application/json", help="the data's media type")
    parser.add_argument("--data", default="", help="the event's data")
    options = parser.parse_args(arguments)
    publisher = Publisher.from_environment(os.environ)
    if publisher is None:
        sys.exit("K_SINK is not set: name the URL that the event goes to.")
    event = Event(
        id=new_id(), source=options.source, type=TYPE, datacontenttype=options.content_type, data=options.data.encode()
    )
    try:
        asyncio.run(send(publisher, event))
    except PublishFailed as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
