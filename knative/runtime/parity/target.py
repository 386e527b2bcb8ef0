"""Where an installation is, how its gateway is spoken to, and why it may be that it does not answer."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx


class Unusable(Exception):
    """The installation cannot be compared with anything; the message is one sentence that says what to do about it."""


@dataclass(frozen=True)
class Target:
    """One installation. `timeout` is in seconds, for each answer: the first calls may find everything asleep."""

    url: str
    host_header: str = ""
    #: Sent with every request: what a gateway in front of the API wants to see.
    headers: Mapping[str, str] = field(default_factory=dict)
    insecure: bool = False
    timeout: float = 60.0

    @classmethod
    def at(cls, url: str, **rest: object) -> Target:
        """The one at a URL that somebody typed.

        Raises:
            Unusable: it is none, or has what no base of paths has.
        """
        try:
            where = urlsplit(url)
            usable = where.scheme in {"http", "https"} and bool(where.hostname) and where.port != 0
        except ValueError:
            usable = False
        if not usable or " " in url:
            raise Unusable(f"{url} is no URL such as https://shop.example.com or http://10.0.0.7:8080/prod")
        if where.query or where.fragment:
            raise Unusable(f"{url} has a query or a fragment: give what stands before it")
        if where.username or where.password:
            raise Unusable(
                "the URL has a password in it, which ends up in logs: give it as a header, --header-file FILE"
            )
        return cls(url.rstrip("/"), **rest)  # type: ignore[arg-type]

    @property
    def is_tls(self) -> bool:
        """Whether it is https."""
        return urlsplit(self.url).scheme == "https"

    @property
    def host(self) -> str:
        """What is connected to."""
        return str(urlsplit(self.url).hostname)

    @property
    def port(self) -> int:
        """What is connected to."""
        return urlsplit(self.url).port or (443 if self.is_tls else 80)

    @property
    def prefix(self) -> str:
        """The path that the API is under, such as the stage of an API Gateway; mostly none."""
        return urlsplit(self.url).path

    @property
    def origin(self) -> str:
        """The URL without it, under the name that the installation knows itself by."""
        where = urlsplit(self.url)
        return f"{where.scheme}://{self.host_header or where.netloc}"

    @property
    def name(self) -> str:
        """The name that its certificate has to have, and that the TLS handshake says (SNI)."""
        return urlsplit(f"//{self.host_header}").hostname or self.host if self.host_header else self.host

    def context(self, *, alpn: str) -> ssl.SSLContext:
        """How TLS is spoken: certificates of this machine's authorities, or any at all where it is `insecure`."""
        made = httpx.create_ssl_context(verify=not self.insecure)
        made.set_alpn_protocols([alpn])
        return made


def headers_of(file: Path) -> dict[str, str]:
    """Headers from a file, `Name: value` a line, as `curl -H @FILE` takes them.

    Raises:
        Unusable: it cannot be read, or a line is no header, or one that the scenarios need themselves.
    """
    headers = {}
    for line in filter(None, map(str.strip, text_of(file).splitlines())):
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or " " in name.strip():
            raise Unusable(f"{file} has a line that is no header such as `X-Api-Key: …`")
        if name.strip().lower() in {"authorization", "host"}:
            raise Unusable(
                f"{file} sets {name.strip()}: authorization is the API's own, and --host-header sets the host"
            )
        headers[name.strip().lower()] = value.strip()
    return headers


def token_of(file: Path) -> str:
    """An admin's token from a file.

    Raises:
        Unusable: it cannot be read, or has more or less than one word in it.
    """
    words = text_of(file).split()
    if len(words) != 1:
        raise Unusable(f"{file} holds {len(words)} words: it has to hold a token alone, as POST /tokens gives it")
    return words[0]


def text_of(file: Path) -> str:
    """What a file holds.

    Raises:
        Unusable: it cannot be read.
    """
    try:
        return file.read_text()
    except OSError as error:
        raise Unusable(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise Unusable(f"{file} is no text") from error


def sentence(error: Exception, target: Target) -> str:
    """Why there was no answer, and what to do about it."""
    causes = list(_causes(error))
    for cause in causes:
        for kind, say in _SENTENCES:
            if isinstance(cause, kind):
                return say(cause, target, f"{target.host}:{target.port}")
    return f"{target.host}:{target.port} cannot be reached: {causes[-1] or type(causes[-1]).__name__}"


def _of_certificate(error: ssl.SSLCertVerificationError, target: Target, _: str) -> str:
    if "mismatch" in error.verify_message:
        return f"the certificate there is not for {target.name}: --host-header says the name, --insecure takes any"
    return f"the certificate of {target.name} is not trusted here ({error.verify_message}): --insecure takes any"


# By what the error is or was caused by; the first that fits.
_SENTENCES: tuple[
    tuple[type[BaseException] | tuple[type[BaseException], ...], Callable[[Any, Target, str], str]], ...
] = (
    (
        httpx.ProxyError,
        lambda error, target, _: (
            f"the proxy that HTTPS_PROXY or HTTP_PROXY names does not lead to {target.host}: {error}"
        ),
    ),
    (
        socket.gaierror,
        lambda error, target, _: (
            f"there is no host {target.host} ({error.strerror}): is it typed right, and known here?"
        ),
    ),
    (ssl.SSLCertVerificationError, _of_certificate),
    (ssl.SSLError, lambda error, _, at: f"{at} does not speak TLS: is it http:// there? ({error.reason})"),
    (ConnectionRefusedError, lambda _, __, at: f"nothing listens at {at}: is it up, and is the port right?"),
    (
        (httpx.TimeoutException, TimeoutError),
        lambda _, target, at: f"no answer from {at} within {target.timeout:g} s (--timeout)",
    ),
    (
        httpx.ProtocolError,
        lambda error, _, at: f"{at} ended the call, or speaks no HTTP there: is it https://? ({error})",
    ),
)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        wrapped = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = wrapped or error.__cause__ or error.__context__
