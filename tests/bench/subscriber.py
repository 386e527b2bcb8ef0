"""A subscriber as anybody would write it: FastAPI, one route, 204. It counts, and says when."""

from __future__ import annotations

import json
import os
import time

import uvicorn
from fastapi import FastAPI, Request, Response

app = FastAPI()
_times: list[float] = []


def handle(body: bytes) -> None:
    """What every leg does with an event's data."""
    json.loads(body)


@app.post("/")
async def take(request: Request) -> Response:
    """Take an event."""
    _times.append(time.monotonic())
    handle(await request.body())
    return Response(status_code=204)


@app.get("/count")
async def count() -> int:
    """How many came."""
    return len(_times)


@app.get("/times")
async def times() -> list[float]:
    """When each came, in seconds of the machine's monotonic clock."""
    return _times


@app.delete("/times")
async def forget() -> None:
    """Begin again."""
    _times.clear()


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), access_log=False, log_level="warning")
