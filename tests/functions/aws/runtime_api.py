"""Lambda's Runtime API on a port of loopback, and a function behind it: AWS' own runtime interface client, our handler.

As AWS documents it ("Using the Lambda runtime API", 2018-06-01): the client asks for the next invocation, which waits,
and posts its answer or its error.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

SAMPLES = ROOT / "tests/samples/lambda"
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:wake"
_PATIENCE_SECONDS = 30.0
_BEFORE = "/2018-06-01/runtime/"


class FunctionError(Exception):
    """What a function raised, as Lambda hears of it; `error` is the document that was posted."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['errorType']}: {error['errorMessage']}")
        self.error = error


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that was killed says no goodbye."""


class RuntimeApi:
    """The endpoint. One invocation at a time, as one execution environment takes them."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[str, bytes, float]] = queue.Queue()
        self.answers: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        #: Is set when the client asks for its first invocation: its init phase is over.
        self.initialised = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def next(self) -> tuple[str, bytes, float]:
        """Wait for an invocation; raises queue.Empty."""
        self.initialised.set()
        return self._waiting.get(timeout=_PATIENCE_SECONDS)

    def invoke(self, event: Any, seconds: float = 10.0) -> Any:
        """Invoke it with so much time, and wait for its answer; raises FunctionError."""
        self._waiting.put((str(uuid.uuid4()), json.dumps(event).encode(), time.time() + seconds))
        return self.answer()

    def answer(self) -> Any:
        """The next answer; raises FunctionError, also for a failed init phase."""
        kind, content = self.answers.get(timeout=_PATIENCE_SECONDS)
        if kind != "response":
            raise FunctionError(content)
        return content

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(api: RuntimeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Or the body would wait for the acknowledgement of the head.
        wbufsize = -1

        def do_GET(self) -> None:
            assert self.path == f"{_BEFORE}invocation/next", self.path
            with contextlib.suppress(queue.Empty, ConnectionError):
                request_id, event, deadline = api.next()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", request_id)
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int(deadline * 1000)))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", ARN)
                self.send_header("Lambda-Runtime-Trace-Id", "Root=1-6a158b1e-0f3c5d7b2a9e4c6d8f1b3a5c;Sampled=0")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(event)))
                self.end_headers()
                self.wfile.write(event)

        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["content-length"])))
            api.answers.put((self.path.rpartition("/")[2], content))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class Lambda:
    """A function's execution environment: a process of AWS' client, and nothing in its environment but what is said."""

    def __init__(self, log: Path, handler: str, path: str, variables: dict[str, str]) -> None:
        self._api = RuntimeApi()
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "awslambdaric", handler],
                cwd=log.parent,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": path,
                    "AWS_LAMBDA_RUNTIME_API": self._api.address,
                    "AWS_LAMBDA_FUNCTION_NAME": "wake",
                    "AWS_REGION": "eu-central-1",
                    **variables,
                },
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        self.invoke, self.answer, self.initialised = self._api.invoke, self._api.answer, self._api.initialised

    def lines(self) -> list[dict[str, Any]]:
        """What it logged so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def close(self) -> None:
        """Take the environment away, as Lambda does: without a word."""
        self.process.kill()
        self.process.wait()
        self._api.close()


@contextlib.contextmanager
def running(
    folder: Path, handler: str = "functions.aws.handler.handle", path: str = str(ROOT), **variables: str
) -> Iterator[Lambda]:
    """One execution environment."""
    made = Lambda(folder / f"lambda-{uuid.uuid4()}.log", handler, path, variables)
    try:
        yield made
    finally:
        made.close()


def sample(name: str, **values: Any) -> Any:
    """A recorded event with its values filled in: a text within texts, anything else in the place of `${name}`."""
    return _filled(json.loads((SAMPLES / f"{name}.json").read_text()), values)


def _filled(found: Any, values: dict[str, Any]) -> Any:
    if isinstance(found, dict):
        return {name: _filled(one, values) for name, one in found.items()}
    if isinstance(found, list):
        return [_filled(one, values) for one in found]
    if isinstance(found, str) and found.startswith("${"):
        return values[found[2:-1]]
    return found
