"""A real PgBouncer of a test's own, by the configuration that is shipped; only the addresses are this machine's."""

from __future__ import annotations

import configparser
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from knative.runtime import child, postgres

ABSENT = "there is no pgbouncer on PATH or in /usr/sbin (on Debian: apt-get install pgbouncer)"


@dataclass
class PgBouncer:
    """One that runs before a PostgreSQL."""

    process: subprocess.Popen[bytes]
    port: int

    def url(self, direct: str) -> str:
        """The URL of a database through it."""
        where = urlsplit(direct)
        return where._replace(netloc=f"{where.username}:{where.password}@127.0.0.1:{self.port}").geturl()

    def stop(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


def program() -> str | None:
    """PgBouncer, if it is there; Debian's is for root's PATH."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def start(found: str, shipped: str, server: postgres.Postgres, verifier: str, folder: Path) -> PgBouncer:
    """Start it before a server; returns once it listens.

    *verifier* is what the server keeps of its superuser's password, *folder* is readable by everybody.
    """
    port = child.free_port()
    users = folder / "userlist.txt"
    users.write_text(f'"{postgres.SUPERUSER}" "{verifier}"\n')
    ours = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "auth_file": str(users),
        "server_tls_sslmode": "disable",
        # So few that neighbouring transactions of one client are in different sessions.
        "default_pool_size": "2",
        # Nor does it run as root elsewhere.
        **({"user": "nobody"} if os.geteuid() == 0 else {}),
    }
    file = folder / "pgbouncer.ini"
    file.write_text(configured(shipped, server.port, ours))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([found, str(file)], stdout=log, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 5
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.005)
        else:
            return PgBouncer(process, port)


def configured(shipped: str, port: int, ours: Mapping[str, str]) -> str:
    """The shipped configuration for every database of the server on this port."""
    parser = read(shipped)
    (entry,) = set(parser["databases"].values())
    lines = [f"{name} = {value}" for name, value in {**parser["pgbouncer"], **ours}.items()]
    entry = entry.replace("host=postgresql port=5432", f"host=127.0.0.1 port={port}")
    return "\n".join(["[databases]", f"* = {entry}", "[pgbouncer]", *lines, ""])


def read(text: str) -> configparser.ConfigParser:
    """PgBouncer's format: `;` comments, one line a value, `=` within values."""
    parser = configparser.ConfigParser(
        delimiters=("=",), comment_prefixes=(";",), interpolation=None, empty_lines_in_values=False
    )
    parser.read_string(text)
    return parser
