"""Sends the requests of the scenarios over HTTP: one connection pool an installation, redirects not followed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeAlias
from urllib.parse import urlencode

import httpx

from eventing import strictjson
from knative.runtime.parity.normal import Seen
from knative.runtime.parity.scenario import Step
from knative.runtime.parity.target import Target, sentence

# What is asked for later than that is not waited for.
_WAIT_SECONDS_MAX = 60.0
# Far beyond the longest page of a list. Whoever sends more is not Wake, and would fill the memory.
_ANSWER_BYTES_MAX = 4 * 1024 * 1024
_BUSY = frozenset({429, 503})
_DEPTH_MAX = 64
Answer: TypeAlias = "tuple[int, httpx.Headers, bytes]"


class NoAnswer(Exception):
    """None came; why, in one sentence."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Caller:
    """A client of one installation."""

    def __init__(self, target: Target) -> None:
        self.target = target
        # httpx honours HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
        self._http = httpx.AsyncClient(
            verify=target.context(alpn="http/1.1"),
            timeout=target.timeout,
            limits=httpx.Limits(max_connections=20),
        )

    async def __aenter__(self) -> Self:
        """Nothing connects yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def answer(self, step: Step, token: str = "") -> Seen:
        """What a step, whose variables are filled, is answered; a server that is busy is asked once more.

        Raises:
            NoAnswer: none came.
        """
        headers, content = _content(step)
        if token:
            headers["authorization"] = f"Bearer {token}"
        status, told, body = await self._sent(step.method, step.path, headers, content)
        if status in _BUSY and (seconds := _seconds(told.get("retry-after", ""))) is not None:
            await asyncio.sleep(seconds)
            status, told, body = await self._sent(step.method, step.path, headers, content)
        return Seen(step, status, dict(told), _parsed(told, body))

    async def _sent(self, method: str, path: str, headers: Mapping[str, str], content: bytes | None) -> Answer:
        target = self.target
        host = {"host": target.host_header} if target.host_header else {}
        # A page's link to the next one may have the host or the prefix in it already.
        path = path.removeprefix(target.origin).removeprefix(target.prefix)
        if not path.startswith("/"):
            raise NoAnswer(f"{path} is no path of this API: nothing is sent there")
        try:
            # httpx counts each piece of an answer anew: one that drips would never be over.
            async with (
                asyncio.timeout(target.timeout),
                self._http.stream(
                    method,
                    target.url + path,
                    headers={"accept-encoding": "identity", **target.headers, **host, **headers},
                    content=content,
                    extensions={"sni_hostname": target.name} if target.is_tls else None,
                ) as answer,
            ):
                return answer.status_code, answer.headers, await _read(answer)
        except (httpx.TransportError, httpx.DecodingError, TimeoutError) as error:
            raise NoAnswer(sentence(error, target)) from error
        except httpx.InvalidURL as error:
            raise NoAnswer(f"{path} is no path: {error}") from error


def _content(step: Step) -> tuple[dict[str, str], bytes | None]:
    """The headers and the body that a step sends."""
    headers = dict(step.headers)
    if step.json is not None:
        return {"content-type": "application/json", **headers}, json.dumps(step.json).encode()
    if step.form is not None:
        return {"content-type": "application/x-www-form-urlencoded", **headers}, urlencode(step.form).encode()
    if step.fill:
        return headers, b'{"filled": "%s"}' % (b"x" * step.fill)
    return headers, None if step.body is None else step.body.encode()


async def _read(answer: httpx.Response) -> bytes:
    content = bytearray()
    async for piece in answer.aiter_bytes():
        content += piece
        if len(content) > _ANSWER_BYTES_MAX:
            raise NoAnswer(f"{answer.request.url.host} answers with more than {_ANSWER_BYTES_MAX} bytes: it is no Wake")
    return bytes(content)


def _parsed(headers: httpx.Headers, content: bytes) -> Any:
    """JSON where it says that it is, and is; else the text."""
    if "json" in headers.get("content-type", "") and content:
        try:
            return strictjson.parse(content, depth_max=_DEPTH_MAX)
        except strictjson.InvalidJson:
            pass
    return content.decode(errors="replace")


def _seconds(retry_after: str) -> float | None:
    """How long Retry-After (RFC 9110, section 10.2.3) asks to wait; None where it does not say, or too long."""
    if retry_after.isascii() and retry_after.isdigit():
        seconds = float(retry_after)
    else:
        try:
            seconds = max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
        except (ValueError, OverflowError):
            return None
    return seconds if seconds <= _WAIT_SECONDS_MAX else None
