"""A service for tests only: it says back what it is told, in all of gRPC's four ways. Its messages are StringValues."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from google.protobuf.wrappers_pb2 import StringValue
from grpclib.const import Cardinality, Handler

from functions import correlation, errors
from functions.errors import FieldError, Refusal
from functions.rpc.calls import caller, receive
from functions.rpc.service import Service
from functions.serve import serve

REFUSALS: dict[str, Refusal] = {
    "INVALID_ARGUMENT": errors.Unprocessable("It is wrong.", errors=(FieldError("name", "is too long"),)),
    "UNAUTHENTICATED": errors.Unauthenticated(),
    "PERMISSION_DENIED": errors.Forbidden(),
    "NOT_FOUND": errors.NotFound(),
    "ABORTED": errors.StillRunning(),
    "ALREADY_EXISTS": errors.AlreadyThere(),
    "FAILED_PRECONDITION": errors.Conflict(),
    "UNAVAILABLE": errors.Unavailable("Later.", retry_after_seconds=7),
}


class Echo:
    """test.Echo."""

    def __init__(self) -> None:
        self.app: Service
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.calls: list[correlation.Call] = []

    async def once(self, stream: Any) -> None:
        """The same, and the metadata both ways."""
        message = await receive(stream)
        self.calls.append(correlation.current())
        said = stream.metadata.get("say", "nothing")
        await stream.send_initial_metadata(metadata={"first": said, "who": caller().username})
        await stream.send_message(message)
        await stream.send_trailing_metadata(metadata={"last": said, "last-bin": said.encode()})

    async def many(self, stream: Any) -> None:
        """As many as asked for."""
        for number in range(int((await receive(stream)).value)):
            await stream.send_message(StringValue(value=str(number)))

    async def total(self, stream: Any) -> None:
        """All that came, as one."""
        parts = [message.value async for message in stream]
        await stream.send_message(StringValue(value="".join(parts)))

    async def each(self, stream: Any) -> None:
        """Each as it comes."""
        async for message in stream:
            await stream.send_message(message)

    async def wait(self, stream: Any) -> None:
        """For ever; in the database, if it says so."""
        message = await receive(stream)
        self.waiting.set()
        try:
            if message.value == "database":
                await self.app.state.database.fetch("SELECT pg_sleep(60)")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def slow(self, stream: Any) -> None:
        """The same, after so many seconds."""
        message = await receive(stream)
        self.waiting.set()
        await asyncio.sleep(float(message.value))
        await stream.send_message(message)

    async def fail(self, stream: Any) -> None:
        """By name; any other is a bug."""
        raise REFUSALS[(await receive(stream)).value]

    def __mapping__(self) -> dict[str, Handler]:
        """As a generated base has it."""
        kinds = {
            "Once": (self.once, Cardinality.UNARY_UNARY),
            "Many": (self.many, Cardinality.UNARY_STREAM),
            "Total": (self.total, Cardinality.STREAM_UNARY),
            "Each": (self.each, Cardinality.STREAM_STREAM),
            "Wait": (self.wait, Cardinality.UNARY_UNARY),
            "Deaf": (self.wait, Cardinality.STREAM_STREAM),
            "Slow": (self.slow, Cardinality.UNARY_UNARY),
            "Fail": (self.fail, Cardinality.UNARY_UNARY),
        }
        return {
            f"/test.Echo/{name}": Handler(method, kind, StringValue, StringValue)
            for name, (method, kind) in kinds.items()
        }


def echo_service() -> tuple[Service, Echo]:
    """An app that serves one, and it."""
    app = Service("test", "test-echo")
    made: list[Echo] = []

    @app.serves
    class Kept(Echo):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    made[0].app = app
    return app, made[0]


if __name__ == "__main__":
    serve(echo_service()[0], os.environ)
