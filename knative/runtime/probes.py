"""Readiness and liveness probes, as queue-proxy and the kubelet run them (Kubernetes, Probe v1)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Probe:
    """What is asked, and how often. `kind` is httpGet, tcpSocket or grpc; `period` 0 is Knative's fast polling."""

    kind: str
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    service: str = ""
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    failure_threshold: int = 3

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Probe:
        """The probe of a container's `readinessProbe` or `livenessProbe`."""
        kind = next(name for name in ("httpGet", "tcpSocket", "grpc") if name in body)
        spec = body[kind] or {}
        return cls(
            kind=kind,
            path="/" + str(spec.get("path", "/")).lstrip("/"),
            headers=tuple((one["name"], str(one["value"])) for one in spec.get("httpHeaders") or ()),
            service=str(spec.get("service") or ""),
            initial_delay=float(body.get("initialDelaySeconds", 0)),
            period=float(body.get("periodSeconds", 10)),
            timeout=float(body.get("timeoutSeconds", 1)) or 1.0,
            failure_threshold=int(body.get("failureThreshold", 3)) or 3,
        )


async def passes(probe: Probe, port: int) -> bool:
    """Ask once; an HTTP answer from 200 to 399 is a yes."""
    try:
        async with asyncio.timeout(probe.timeout):
            if probe.kind == "grpc":
                return await _grpc(probe, port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                return probe.kind == "tcpSocket" or await _http(probe, reader, writer)
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
        return False


async def _http(probe: Probe, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    headers = "".join(f"{name}: {value}\r\n" for name, value in probe.headers)
    writer.write(
        f"GET {probe.path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: kube-probe/1.34\r\n"
        f"connection: close\r\n{headers}\r\n".encode()
    )
    line = (await reader.readline()).split()
    return len(line) > 1 and 200 <= int(line[1]) < 400


async def _grpc(probe: Probe, port: int) -> bool:
    from grpclib.client import Channel  # noqa: PLC0415 - few need it.
    from grpclib.exceptions import GRPCError, StreamTerminatedError  # noqa: PLC0415
    from grpclib.health.v1.health_grpc import HealthStub  # noqa: PLC0415
    from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse  # noqa: PLC0415

    with contextlib.suppress(GRPCError, StreamTerminatedError):
        async with Channel("127.0.0.1", port) as channel:
            answer = await HealthStub(channel).Check(HealthCheckRequest(service=probe.service))
            return bool(answer.status == HealthCheckResponse.SERVING)
    return False


async def until_ready(probe: Probe, port: int, seconds: float) -> bool:
    """Ask again and again, every 50 ms as queue-proxy does, for at most *seconds*."""
    deadline = asyncio.get_running_loop().time() + seconds
    await asyncio.sleep(probe.initial_delay)
    while not await passes(probe, port):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True
