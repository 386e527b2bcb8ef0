"""Sends one event to a Broker for `wake send`."""

from __future__ import annotations

import http.client
import json
import uuid
from urllib.parse import urlsplit


class SendFailed(Exception):
    """The event was not taken; the message says why."""


def send(text: str, ingress: str) -> str:
    """Post a CloudEvent in JSON; `specversion`, `id` and `source` are filled in where they are missing.

    Raises:
        SendFailed: it is no event, or the Broker did not take it.
    """
    try:
        event = json.loads(text)
    except ValueError as error:
        raise SendFailed(f"this is not JSON: {error}") from error
    if not isinstance(event, dict):
        raise SendFailed('an event in JSON is an object: {"type": …, "data": …}')
    event = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/wake/cli", **event}
    where = urlsplit(ingress)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=10)
    try:
        connection.request("POST", where.path, json.dumps(event), {"content-type": "application/cloudevents+json"})
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace").strip()
    except OSError as error:
        raise SendFailed(f"the Broker at {ingress} cannot be reached: {error}") from error
    finally:
        connection.close()
    if answer.status >= 300:
        raise SendFailed(f"the Broker answered {answer.status}: {body or answer.reason}")
    return f"Accepted {event['type']} with id {event['id']}; `wake events` shows what becomes of it."
