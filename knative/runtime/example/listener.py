"""Prints every event that it gets, and answers with 204, as a subscriber should."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Listener(BaseHTTPRequestHandler):
    """Answers POST."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """An event in binary mode."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        print(f"{self.headers['ce-type']} {self.headers['ce-id']} {body.decode()}", flush=True)
        self.send_response(204)
        self.end_headers()


ThreadingHTTPServer(("", int(os.environ["PORT"])), Listener).serve_forever()
