"""Functions of an installation as plain processes on ports of their own, with no gateway before them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

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
def serving(name: str, given: Mapping[str, str]) -> Iterator[int]:
    """A function by `python -m functions`, as a container runs it, with these variables; its port."""
    with _process([sys.executable, "-m", "functions", name], given) as port:
        yield port


@contextlib.contextmanager
def program(module: str, *arguments: str) -> Iterator[int]:
    """`python -m MODULE ARGUMENTS`, which listens on $PORT; its port."""
    with _process([sys.executable, "-m", module, *arguments], environment.of_machine()) as port:
        yield port


@contextlib.contextmanager
def _process(command: Sequence[str], given: Mapping[str, str]) -> Iterator[int]:
    port = child.free_port()
    process = subprocess.Popen(
        command, cwd=ROOT, env={**given, "PORT": str(port)}, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    try:
        child.wait_until(lambda: child.accepts("127.0.0.1", port), process, Path("/dev/null"), seconds=20)
        yield port
    finally:
        process.terminate()
        process.wait()
