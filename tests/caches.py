"""A real Redis or Valkey of a test's own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from knative.runtime import child

PROGRAMS = ("redis-server", "valkey-server")
ABSENT = "there is no redis-server or valkey-server on PATH (on Debian: apt-get install redis-server)"


@dataclass
class CacheServer:
    """One that runs, keeps nothing on disk, and can be stopped in several ways."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        """What CACHE_URL holds."""
        return f"redis://127.0.0.1:{self.port}/0"

    def hang(self) -> None:
        """It takes connections and answers nothing."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """It answers again, also what it was asked meanwhile."""
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


def program() -> str | None:
    """The server's program, if there is one; Debian's are for root's PATH too."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/bin"
    return next((found for name in PROGRAMS if (found := shutil.which(name, path=path))), None)


def start(found: str, folder: Path) -> CacheServer:
    """Start one on a free port; returns once it listens."""
    port = child.free_port()
    command = [found, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([*command, "--dir", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 5
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            assert process.poll() is None and time.monotonic() < deadline, f"{found} does not start"
            time.sleep(0.005)
        else:
            return CacheServer(process, port)
