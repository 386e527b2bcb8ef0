"""Functions as processes of their own, on a socket that outlives them, as the platform holds it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

from tests.conftest import ROOT


class Function:
    """`python -m functions NAME`: started, killed and started again, while its callers wait in the backlog."""

    def __init__(self, name: str, **variables: str) -> None:
        self._name, self.variables = name, variables
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; calls are answered as soon as it has."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "functions", self._name],
            pass_fds=[3],
            # Where systemd would put it.
            preexec_fn=lambda: os.dup2(self._listener.fileno(), 3),  # noqa: PLW1509 - one call, no lock taken.
            env={**os.environ, **self.variables, "PYTHONPATH": str(ROOT), "LISTEN_FDS": "1", "LOG_LEVEL": "error"},
            cwd=ROOT,
        )

    def kill(self) -> None:
        """As the kernel would: nothing of it runs after this."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Ask it to end; answers its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(15)

    def close(self) -> None:
        """End it, however it is, and its socket."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self._listener.close()
