"""A gateway in front of an installation, which does to requests and answers what a test says; its certificates."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class Passed:
    """A request, and what it was answered; without a status it goes to the installation."""

    method: str
    path: str
    sent: dict[str, str] = field(default_factory=dict)
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Change = Callable[[Passed], Passed]


def as_it_is(passed: Passed) -> Passed:
    """Nothing is changed."""
    return passed


@contextlib.contextmanager
def gateway(
    to: int = 0, *, before: Change = as_it_is, after: Change = as_it_is, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Its URL. *before* sees each request and may answer it, *after* each answer of the installation at port *to*."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):
                return self._answer
            raise AttributeError(name)

        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", 0)))
            asked = before(Passed(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            told = asked if asked.status else after(self._forwarded(asked, content))
            self.send_response_only(told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            if told.status not in {204, 304} and "content-length" not in {one.lower() for one in told.headers}:
                self.send_header("content-length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)

        def _forwarded(self, asked: Passed, content: bytes) -> Passed:
            connection = http.client.HTTPConnection("127.0.0.1", to, timeout=30)
            with contextlib.closing(connection):
                connection.request(asked.method, asked.path, content or None, asked.sent)
                answer = connection.getresponse()
                # As a load balancer may: names in capitals, and headers of its own.
                headers = {name.title(): value for name, value in answer.getheaders()}
                dropped = {"Transfer-Encoding", "Connection"} | (
                    set() if asked.method == "HEAD" else {"Content-Length"}
                )
                kept = {name: value for name, value in headers.items() if name not in dropped}
                return replace(asked, status=answer.status, headers=kept | {"Via": "1.1 test"}, body=answer.read())

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its own name.
            """Nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 100

        def handle_error(self, *_: object) -> None:
            """A client that refuses the certificate goes without a word."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def certificate(folder: Path, name: str) -> ssl.SSLContext:
    """For a server of this name, signed by itself; `folder/certificate.pem` is what a client may trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    (folder / "certificate.pem").write_bytes(pem)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context
