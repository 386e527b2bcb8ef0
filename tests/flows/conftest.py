"""The whole platform, by `wake up` as a user types it: free ports, a state folder of the test's own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from knative.runtime import child, state

ROOT = Path(__file__).parent.parent.parent
WAKE = [str(Path(sys.executable).parent / "wake")]
_PATIENCE_SECONDS = 30.0


class Installation:
    """One state folder, with `wake up` running on it or not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.broker_port = child.free_port(), child.free_port()
        self.environment = {
            **os.environ,
            "WAKE_STATE": str(folder / "state"),
            "WAKE_PORT": str(self.port),
            "WAKE_BROKER_PORT": str(self.broker_port),
            "PYTHONUNBUFFERED": "1",
        }
        self.output = folder / "output"
        self.process: subprocess.Popen[bytes] | None = None

    def up(self, *arguments: str) -> None:
        """Start it, and wait until it says that it is up."""
        self.begin(*arguments)
        wait_until(lambda: self.says("Wake is up") or self.process is None or self.process.poll() is not None)
        assert self.says("Wake is up"), self.output.read_text()

    def begin(self, *arguments: str) -> None:
        """Start it."""
        with self.output.open("wb") as stream:
            self.process = subprocess.Popen(
                [*WAKE, "up", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def says(self, text: str) -> bool:
        """Whether its output has this text so far."""
        return text in self.output.read_text()

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send it a signal and wait for its end; answers its exit code."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        code = self.process.wait(_PATIENCE_SECONDS)
        self.process = None
        return code

    def wake(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Another `wake` command on this state folder."""
        return subprocess.run(
            [*WAKE, *arguments],
            cwd=ROOT,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """What the running one last wrote."""
        found = state.State(self.folder / "state").status()
        assert found is not None
        return found

    def awake(self) -> set[str]:
        """The functions that have a process."""
        return {one["name"] for one in self.status()["services"] if one["phase"] != "asleep"}

    def started(self) -> set[str]:
        """The functions that ever had a process."""
        return {one["name"] for one in self.status()["services"] if one["starts"]}

    def service(self, name: str) -> dict[str, Any]:
        """What is known of one function."""
        return next(one for one in self.status()["services"] if one["name"] == name)

    def processes(self) -> list[int]:
        """Every process that was given this state folder, however it came to be."""
        marker = f"WAKE_STATE={self.folder / 'state'}".encode()
        folder = str(self.folder).encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                seen = (path / "environ").read_bytes() + (path / "cmdline").read_bytes()
                if (marker in seen or folder in seen) and state.runs(int(path.name)):
                    found.append(int(path.name))
        return found


class Customer:
    """Somebody with a token."""

    def __init__(self, installation: Installation) -> None:
        self.username = f"ada-{secrets.token_hex(4)}"
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{installation.port}", timeout=30)
        try:
            self.register()
            self.sign_in()
        except BaseException:
            self.http.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def register(self) -> None:
        """With an e-mail address and a password."""
        body = {"username": self.username, "email": "ada@example.com", "password": "correct horse"}
        assert self.http.post("/users/", json=body).status_code == 201

    def sign_in(self) -> None:
        """For ten minutes."""
        form = {"grant_type": "password", "username": self.username, "password": "correct horse"}
        token = self.http.post("/tokens", data=form).json()["access_token"]
        self.http.headers["authorization"] = f"Bearer {token}"

    def place(self, token: str = "tok_approve", **headers: str) -> str:
        """An order of 99.50 EUR; answers its id."""
        body = {"amount": "99.50", "currency": "EUR", "payment_token": token}
        answer = self.http.post("/orders/", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["order_id"])

    def order(self, order_id: str) -> dict[str, Any]:
        """As orders-get tells it."""
        return dict(self.http.get(f"/orders/{order_id}").json())

    def payment(self, order_id: str) -> dict[str, Any]:
        """As payments-get tells it."""
        return dict(self.http.get(f"/payments/{order_id}").json())

    def ends(self, order_id: str) -> str:
        """The order's status once it has left `placed`."""
        wait_until(lambda: self.order(order_id)["status"] != "placed")
        return str(self.order(order_id)["status"])


def wait_until(condition: Callable[[], object], seconds: float = _PATIENCE_SECONDS) -> None:
    """Look again and again; fails after *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds:g} s"
        time.sleep(0.02)


def lines(text: str) -> list[Any]:
    """JSON, one object a line."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """One that this test starts and ends itself."""
    made = Installation(tmp_path)
    yield made
    if made.process is not None:
        made.stop()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One that runs for the whole session."""
    made = Installation(tmp_path_factory.mktemp("wake"))
    made.up()
    yield made
    made.stop()


@pytest.fixture
def customer(running: Installation) -> Iterator[Customer]:
    """A new customer of the running installation."""
    with Customer(running) as made:
        yield made
