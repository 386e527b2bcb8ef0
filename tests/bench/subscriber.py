"""A subscriber as anybody would write it: FastAPI, one route, 204. It counts, and says when."""

from __future__ import annotations

import os
import time

import uvicorn
from fastapi import FastAPI, Request, Response

app = FastAPI()
_times: list[float] = []


@app.post("/")
async def take(request: Request) -> Response:
    """Take an event."""
    await request.body()
    _times.append(time.monotonic())
    return Response(status_code=204)


@app.get("/times")
async def times() -> dict[str, float]:
    """How many came, and the first and last time."""
    return {"count": len(_times), "first": _times[0] if _times else 0.0, "last": _times[-1] if _times else 0.0}


@app.delete("/times")
async def forget() -> None:
    """Begin again."""
    _times.clear()


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), access_log=False, log_level="warning")
