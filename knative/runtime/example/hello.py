"""Greets, and sends an event to $K_SINK each time: a Knative service without any library."""

import json
import os
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    """Answers GET."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """A greeting."""
        if sink := os.environ.get("K_SINK"):
            headers = {
                "ce-specversion": "1.0",
                "ce-id": str(uuid.uuid4()),
                "ce-source": "/hello",
                "ce-type": "hello.greeted.v1",
                "content-type": "application/json",
            }
            body = json.dumps({"path": self.path}).encode()
            urllib.request.urlopen(urllib.request.Request(sink, body, headers), timeout=10).close()
        answer = f"Hello from {os.environ['K_REVISION']}\n".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


ThreadingHTTPServer(("", int(os.environ["PORT"])), Hello).serve_forever()
