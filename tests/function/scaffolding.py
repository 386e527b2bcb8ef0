"""Wake as `func run` starts it: func's own scaffolding, func-python's own server, any Python that has both."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from knative.runtime import child

# What func writes to service/main.py (knative/func, templates/python/scaffolding/instanced-http).
MAIN = """\
import logging
from func_python.http import serve

logging.basicConfig(level=logging.INFO)

try:
    from function import new as handler  # type: ignore[import]
except ImportError:
    try:
        from function import handle as handler  # type: ignore[import]
    except ImportError:
        logging.error("Function must export either 'new' or 'handle'")
        raise

if __name__ == "__main__":
    logging.info("Functions middleware invoking user function")
    serve(handler)
"""
_PATIENCE_SECONDS = 30.0


@dataclass
class Served:
    """A process of func-python's server."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str

    def stop(self) -> int:
        """As func does; answers its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(_PATIENCE_SECONDS)


@contextlib.contextmanager
def serving(folder: Path, python: str = sys.executable, port: int | None = None, **variables: str) -> Iterator[Served]:
    """Start it in a folder of its own, on a port that is free; it may not be ready, or never be."""
    main = folder / "service/main.py"
    main.parent.mkdir(exist_ok=True)
    main.write_text(MAIN)
    address = f"127.0.0.1:{port or child.free_port()}"
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [python, str(main)],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "LISTEN_ADDRESS": address, **variables},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Served(process, log, f"http://{address}")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_until_ready(served: Served) -> None:
    """As func polls it; fails when it ends instead."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while wait_until_answered(served, "/health/readiness").status_code != 200:
        assert time.monotonic() < deadline, served.log.read_text()
        time.sleep(0.01)


def wait_until_answered(served: Served, path: str) -> httpx.Response:
    """What it answers as soon as it does; fails when it ends instead."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while served.process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.ConnectError):
            return httpx.get(f"{served.url}{path}", timeout=5, verify=False)
        time.sleep(0.01)
    raise AssertionError(served.log.read_text())


def order(url: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Register, sign in, place an order; answers it as orders-get shows it, and what it was asked with."""
    with httpx.Client(base_url=url, timeout=30) as http:
        user = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}
        assert http.post("/users/", json=user).status_code == 201
        form = {"grant_type": "password", "username": "ada", "password": "correct horse"}
        http.headers["authorization"] = f"Bearer {http.post('/tokens', data=form).json()['access_token']}"
        body = {"amount": "99.50", "currency": "EUR", "payment_token": "tok_approve"}
        placed = http.post("/orders/", json=body)
        assert placed.status_code == 202, placed.text
        shown = http.get(placed.headers["location"]).json()
        return shown, {"authorization": http.headers["authorization"]}
