"""The embedded PostgreSQL: one server for all of Wake's databases, on loopback, for laptops and tests."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from knative.runtime import child, programs
from knative.runtime.state import runs

SUPERUSER = "postgres"
MAJOR_VERSION = "18"
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    # TCP only: the path of a Unix socket in a deep checkout would be too long.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    # With one disk and small tables the I/O workers of PostgreSQL 18 would only cost memory.
    "io_method": "sync",
    "jit": "off",
    "log_min_messages": "warning",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True)
class Postgres:
    """A running server; `url` gives the superuser's address of a database on it."""

    process: subprocess.Popen[bytes]
    port: int
    password: str
    data: Path
    log: Path

    def url(self, database: str = "postgres") -> str:
        """The superuser's connection URL of a database."""
        return url(SUPERUSER, self.password, self.port, database)

    def wait_until_ready(self) -> None:
        """Wait until it takes connections, crash recovery included.

        Raises:
            StartFailed: it ended instead, or took longer than a minute.
        """
        status = self.data / "postmaster.pid"
        child.wait_until(lambda: _is_ready(status, self.process.pid), self.process, self.log, seconds=60)

    def stop(self) -> None:
        """Fast shutdown: sessions end, everything is written, no recovery is needed at the next start."""
        child.stop(self.process, number=signal.SIGINT, patience_seconds=3.0)


def url(role: str, password: str, port: int, database: str) -> str:
    """A libpq connection URL on this machine; dbmate wants to be told that loopback speaks no TLS."""
    return f"postgresql://{role}:{quote(password)}@127.0.0.1:{port}/{database}?sslmode=disable"


def start(folder: Path, port: int, log: Path, settings: Mapping[str, str] | None = None) -> Postgres:
    """Start the server on a port of loopback, creating its data folder first if there is none (about half a second).

    Runs as any user: as root, which PostgreSQL refuses, it is started in a user namespace.

    Raises:
        StartFailed: with a sentence that says what to do.
    """
    data, password_file = folder / "data", folder / "password"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (data / "PG_VERSION").exists():
        _create(data, password_file, log)
    version = (data / "PG_VERSION").read_text().strip()
    if version != MAJOR_VERSION:
        raise child.StartFailed(
            f"{data} was written by PostgreSQL {version}, this is {MAJOR_VERSION}: "
            "dump it with the old version, or `wake reset` to start empty"
        )
    _forget_dead_server(data / "postmaster.pid")
    options = [f"--{name}={value}" for name, value in {**SETTINGS, **(settings or {})}.items()]
    process = child.start(
        [programs.find("postgres"), "-D", str(data), f"--port={port}", *options],
        log=log,
        without_root=os.geteuid() == 0,
    )
    return Postgres(process=process, port=port, password=password_file.read_text(), data=data, log=log)


def _create(data: Path, password_file: Path, log: Path) -> None:
    """Create the data folder under another name first, so that one that is there is always whole."""
    password_file.touch(mode=0o600)
    password_file.write_text(secrets.token_urlsafe(24))
    unfinished = data.with_name("data.unfinished")
    subprocess.run(["rm", "-rf", str(unfinished)], check=True)
    process = child.start(
        [
            programs.find("initdb"),
            f"--pgdata={unfinished}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-instructions",
        ],
        log=log,
        without_root=os.geteuid() == 0,
    )
    if process.wait() != 0:
        raise child.StartFailed(
            f"PostgreSQL could not create {data}: {child.last_line(log)}. "
            "As root it needs user namespaces: where they are switched off, run Wake as an ordinary user"
        )
    unfinished.rename(data)


def _forget_dead_server(status: Path) -> None:
    """Remove the lock of a server that is no more.

    PostgreSQL takes any process of that number for its own, also one that is dead and was never waited for, which is
    what a killed server is under an init that reaps nothing (many containers). The state folder's lock is ours, so no
    other server runs on this data.
    """
    try:
        pid = int(status.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return
    if not runs(pid):
        status.unlink()


def _is_ready(status: Path, pid: int) -> bool:
    """Whether the server of this pid wrote "ready" as the eighth line of its status file (postmaster.pid)."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return False
    # In a user namespace the pid is the same: only uids are mapped.
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"
