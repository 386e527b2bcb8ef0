"""Somebody's own program, for `wake.dev/local-command`: shows what it was given, and how many it serves at once."""

import base64
import hashlib
import json
import os
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

lock = threading.Lock()
now = most = 0
healthy = True


class Service(BaseHTTPRequestHandler):
    """Answers GET."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """By path."""
        global now, most
        with lock:
            now += 1
            most = max(most, now)
        try:
            where = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(where.query).items()}
            getattr(self, where.path.strip("/") or "env")(**query)
        finally:
            with lock:
                now -= 1

    def do_POST(self) -> None:
        """An event: noted, and answered with one whose type says who had it, unless its subject says to stop here."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        with open(f"events-{os.environ['K_SERVICE']}", "a") as file:
            file.write(self.headers["ce-type"] + "\n")
        if self.headers.get("ce-subject") == f"stop-{os.environ['K_SERVICE']}" or os.environ["K_SERVICE"] == "end":
            self.send_response(204)
            self.end_headers()
            return
        self.send_response(200)
        for name in ("ce-specversion", "ce-id", "ce-source", "ce-subject"):
            if name in self.headers:
                self.send_header(name, self.headers[name])
        self.send_header("ce-type", f"{self.headers['ce-type']}.{os.environ['K_SERVICE']}")
        self.send_header("content-length", "0")
        self.end_headers()

    def answer(self, body: object, status: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def env(self) -> None:
        """What it was given."""
        self.answer(
            {"env": dict(os.environ), "headers": {k.lower(): v for k, v in self.headers.items()}, "pid": os.getpid()}
        )

    def work(self, s: str = "0", id: str = "") -> None:
        """Take *s* seconds; note *id*."""
        time.sleep(float(s))
        if id:
            with open(f"ids-{os.environ['K_SERVICE']}", "a") as file:
                file.write(id + "\n")
        self.answer({"pid": os.getpid(), "most": most, "revision": os.environ["K_REVISION"]})

    def call(self, url: str) -> None:
        """Call a neighbour."""
        with urllib.request.urlopen(url, timeout=10) as answer:
            self.answer(json.load(answer))

    def health(self) -> None:
        """For the liveness probe."""
        self.answer({}, 200 if healthy else 500)

    def ail(self) -> None:
        """Be unhealthy from now on."""
        global healthy
        healthy = False
        self.answer({"pid": os.getpid()})

    def drip(self, first: str, then: str) -> None:
        """Headers after *first* seconds, the rest *then* seconds later."""
        time.sleep(float(first))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(b"data: 1\n\n")
        time.sleep(float(then))
        self.wfile.write(b"data: 2\n\n")
        self.close_connection = True

    def echo(self) -> None:
        """Upgrade to a WebSocket and send back the bytes that come."""
        guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        key = hashlib.sha1((self.headers["sec-websocket-key"] + guid).encode()).digest()
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "Upgrade")
        self.send_header("sec-websocket-accept", base64.b64encode(key).decode())
        self.end_headers()
        while received := self.connection.recv(4096):
            self.connection.sendall(received)
        self.close_connection = True


class Server(ThreadingHTTPServer):
    """Takes many at once."""

    request_queue_size = 1024
    daemon_threads = True


if len(sys.argv) > 1:
    sys.exit(sys.argv[1])
Server(("", int(os.environ["PORT"])), Service).serve_forever()
