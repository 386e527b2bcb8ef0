"""Functions of an installation as plain processes on ports of their own, with no gateway before them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from knative.runtime import child, environment, provision
from knative.runtime.manifests import load
from knative.runtime.state import State
from tests.flows.conftest import ROOT, Installation


def variables(installation: Installation, name: str) -> dict[str, str]:
    """What this function finds in its environment when the installation starts it."""
    status, state = installation.status(), State(installation.folder / "state")
    platform = load(ROOT / "knative/overlays/local")
    secrets = provision.complete(platform, status["postgres_port"], state.secrets).secrets
    return environment.of_service(
        platform.services["shop", name],
        environment.Values.of(platform, secrets),
        status["gateway"],
        status["broker"],
    )


@contextlib.contextmanager
def serving(installation: Installation, name: str) -> Iterator[int]:
    """A function by `python -m functions`, as a container runs it; its port."""
    with _process([sys.executable, "-m", "functions", name], variables(installation, name)) as port:
        yield port


@contextlib.contextmanager
def program(module: str, *arguments: str) -> Iterator[int]:
    """`python -m MODULE ARGUMENTS`, which listens on $PORT; its port."""
    with _process([sys.executable, "-m", module, *arguments], environment.of_machine()) as port:
        yield port


@contextlib.contextmanager
def _process(command: Sequence[str], given: dict[str, str]) -> Iterator[int]:
    port = child.free_port()
    with Path("/dev/null").open("wb") as nothing:
        process = subprocess.Popen(command, cwd=ROOT, env={**given, "PORT": str(port)}, stdout=nothing)
        try:
            _until_open(port, process)
            yield port
        finally:
            process.terminate()
            process.wait()


def _until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError):
            httpx.get(f"http://127.0.0.1:{port}/")
            return
        time.sleep(0.02)
