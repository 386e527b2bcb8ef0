"""A RabbitMQ server of our own: the channel underneath the local Broker where RabbitMQ is asked for.

It is a node by itself: own name, own ports, all on loopback, its cookie and data in the state folder. Erlang insists on
a port mapper (epmd), which otherwise would be started as a daemon on every interface and outlive everybody: it runs
as one more child, on loopback.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from knative.runtime import child, programs

_USER = "wake"
# Debian's program of this name on PATH only hands over to another user, who could not write here.
_DEBIANS = "/usr/lib/rabbitmq/bin"
_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
_READY_SECONDS = 60


@dataclass(frozen=True)
class RabbitMQ:
    """A running rabbitmq-server; `url` carries its password."""

    process: subprocess.Popen[bytes]
    epmd: subprocess.Popen[bytes]
    port: int
    password: str
    log: Path

    @property
    def url(self) -> str:
        """The client URL, with the password that keeps other users of the machine out."""
        return f"amqp://{_USER}:{self.password}@127.0.0.1:{self.port}/"

    def wait_until_ready(self) -> None:
        """Wait until it takes connections, which it does last.

        Raises:
            StartFailed: it ended instead, or took longer than a minute.
        """
        ready = lambda: child.accepts("127.0.0.1", self.port)  # noqa: E731
        child.wait_until(ready, self.process, self.log, seconds=_READY_SECONDS)

    def stop(self) -> None:
        """Stop; what was confirmed is on disk already."""
        child.stop(self.process, patience_seconds=2.5)
        child.stop(self.epmd)


def find() -> str | None:
    """The program, or None where it is not installed."""
    return shutil.which("rabbitmq-server", path=os.pathsep.join([_DEBIANS, os.environ.get("PATH", ""), *_FOLDERS]))


def start(folder: Path, port: int, log: Path, settings: str = "") -> RabbitMQ:
    """Start rabbitmq-server on a port of loopback with its queues in *folder*; *settings* are lines of rabbitmq.conf.

    Raises:
        StartFailed: it is not installed.
    """
    program, epmd = find(), shutil.which("epmd")
    if program is None or epmd is None:
        raise child.StartFailed(f"rabbitmq-server is not installed: {programs.HOW_TO_GET['rabbitmq-server']}")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    password = _secret(folder / "password")
    # Whoever has the cookie can run anything on the node; Erlang would make it up itself, of little more than the time.
    _secret(folder / ".erlang.cookie")
    _write(folder / "rabbitmq.conf", _configuration(port, password) + settings)
    _write(folder / "enabled_plugins", "[].\n")
    mapper_port = child.free_port()
    mapper = child.start([epmd, "-port", str(mapper_port), "-address", "127.0.0.1"], log=log)
    environment = _environment(folder, child.free_port(), mapper_port)
    try:
        child.wait_until(lambda: child.accepts("127.0.0.1", mapper_port), mapper, log, seconds=10)
        process = child.start([program], log=log, environment=environment, folder=folder)
    except child.StartFailed:
        child.stop(mapper)
        raise
    return RabbitMQ(process, mapper, port, password, log)


def _configuration(port: int, password: str) -> str:
    """In rabbitmq.conf's own words."""
    lines = {
        "listeners.tcp.1": f"127.0.0.1:{port}",
        "default_user": _USER,
        "default_pass": password,
        "default_permissions.configure": ".*",
        "default_permissions.read": ".*",
        "default_permissions.write": ".*",
        "log.console": "true",
        "log.console.level": "warning",
        "log.file": "false",
        # The log that queues share is written in files of this size; half a gigabyte is too much for a laptop.
        "raft.wal_max_size_bytes": str(32 * 1024 * 1024),
    }
    return "".join(f"{name} = {value}\n" for name, value in lines.items())


def _environment(folder: Path, distribution_port: int, mapper_port: int) -> dict[str, str]:
    """What the start script and Erlang are told; nothing of the machine's own RabbitMQ is read."""
    variables = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": "wake@localhost",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_DIST_PORT": str(distribution_port),
        # The script becomes Erlang instead of waiting for it, so that Erlang is our child and dies with us.
        "RUNNING_UNDER_SYSTEMD": "true",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_PORT": str(mapper_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_CRASH_DUMP_SECONDS": "0",
    }
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **variables}


def _secret(file: Path) -> str:
    """What the first start made up: the server keeps the user that it made then, and its password."""
    if not file.exists():
        _write(file, secrets.token_urlsafe(24))
    return file.read_text()


def _write(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
