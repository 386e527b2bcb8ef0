"""Functions under AWS' own runtime interface client: until the init phase is over, the first call, and the next ones.

Beside them a bare FastAPI app behind Mangum, which does as little as one can, with Mangum's own lifespan (it goes
through the app's start and end at each call); and the floor under both, the client and the import of FastAPI alone.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.bench import direct
from tests.flows.conftest import ROOT, Customer, Installation
from tests.functions.aws.runtime_api import Lambda, running, sample

STARTS = 5
CALLS = 300
_BARE = """\
from contextlib import asynccontextmanager
from fastapi import FastAPI
from mangum import Mangum

@asynccontextmanager
async def lifespan(app):
    yield

app = FastAPI(lifespan=lifespan)

@app.get("/{path:path}")
async def get():
    return {}

auto = Mangum(app)
off = Mangum(app, lifespan="off")
"""
_FLOOR = """\
import fastapi

def handle(event, context):
    return {"statusCode": 200}
"""
Start = Callable[[], AbstractContextManager[Lambda]]


def run(installation: Installation) -> None:
    """Print the figures."""
    customer = Customer(installation)
    order_id = customer.place()
    token = customer.http.headers["authorization"]
    customer.http.close()
    with tempfile.TemporaryDirectory(prefix="wake-lambda-") as name:
        folder = Path(name)
        (folder / "bare.py").write_text(_BARE)
        (folder / "floor.py").write_text(_FLOOR)

        def function(name: str) -> Start:
            variables = direct.variables(installation, name) | {"FUNCTION": name, "LOG_LEVEL": "error"}
            variables.pop("K_SINK", None)
            return lambda: running(folder, **{one: value for one, value in variables.items() if one != "PATH"})

        def peer(handler: str) -> Start:
            return lambda: running(folder, handler, f"{folder}:{ROOT}")

        print(
            f"\nLambda: ms until ready (init), the first call, the next ones; medians of {STARTS} starts, {CALLS} calls"
        )
        print(f"  {'':<24}{'init':>8}{'first':>8}{'next':>8}   init and first, to the bare app's; next")
        bare = _measured(peer("bare.auto"), "/x", token)
        _print("FastAPI + Mangum", bare, bare)
        _print("  its lifespan off", _measured(peer("bare.off"), "/x", token), bare)
        _print("import fastapi alone", _measured(peer("floor.handle"), "/x", token), bare)
        _print("users-keys", _measured(function("users-keys"), "/.well-known/jwks.json", token), bare)
        _print("orders-get", _measured(function("orders-get"), f"/orders/{order_id}", token), bare)


def _measured(start: Start, path: str, token: str) -> tuple[float, float, float]:
    event: Any = sample("function_url", authorization=token, key="", body="")
    event["rawPath"] = path
    event["requestContext"]["http"] |= {"method": "GET", "path": path}
    init, first, following = [], [], []
    for number in range(STARTS):
        began = time.perf_counter()
        with start() as function:
            assert function.initialised.wait(30)
            init.append(time.perf_counter() - began)
            first.append(_call(function, event))
            if not number:
                following = [_call(function, event) for _ in range(CALLS)]
    return tuple(statistics.median(one) * 1000 for one in (init, first, following))  # type: ignore[return-value]


def _call(function: Lambda, event: Any) -> float:
    began = time.perf_counter()
    answer = function.invoke(event)
    assert answer["statusCode"] == 200, answer
    return time.perf_counter() - began


def _print(name: str, figures: tuple[float, float, float], bare: tuple[float, float, float]) -> None:
    init, first, following = figures
    cold = (init + first) / (bare[0] + bare[1])
    print(f"  {name:<24}{init:8.1f}{first:8.1f}{following:8.2f}   {cold:5.2f} {following / bare[2]:5.2f}", flush=True)
