"""The running gateway: writes Envoy's configuration, tells it where replicas are, and asks what it counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from knative.runtime import envoy, ingress
from knative.runtime.resources import Key, Route, Routed, Service
from knative.runtime.state import State

_POLL_SECONDS = 0.02
_ESTABLISHED = "01"


class Gateway:
    """Envoy and the files that it follows."""

    def __init__(self, folder: Path, ports: ingress.EnvoyPorts) -> None:
        self._folder = folder
        self._ports = ports
        self._written: dict[str, str] = {}
        self._envoy: envoy.Envoy | None = None
        folder.mkdir(exist_ok=True)
        for stale in folder.glob("*.json"):
            stale.unlink()

    def start(self, log: Path) -> envoy.Envoy:
        """Start Envoy on the files as they are; again after it ended.

        Raises:
            StartFailed: it is not installed.
        """
        configuration = ingress.bootstrap(self._ports, self._folder)
        self._envoy = envoy.start(configuration, self._folder.parent, Path(self._ports.admin_socket), log)
        return self._envoy

    async def configure(
        self, routed: Mapping[Key, Routed], routes: Iterable[Route], ports: Mapping[str, Sequence[int]]
    ) -> None:
        """Send requests where these Services and routes say; *ports* are those of each revision's replicas."""
        revisions = [revision for one in routed.values() for revision in one.revisions.values()]
        for name, places in ports.items():
            self.route(name, places)
        self._write("clusters", "clusters.json", [ingress.cluster(one, self._folder) for one in revisions])
        await self._knows(revisions)
        self._write("routes", "routes.public.json", [ingress.public_routes(routed, routes)])
        self._write("routes", "routes.internal.json", [ingress.internal_routes(routed)])

    def route(self, cluster: str, ports: Sequence[int]) -> None:
        """Send this revision's requests to these ports of loopback from now on."""
        self._write("endpoints", ingress.endpoints_file(cluster), [ingress.endpoints(cluster, ports)])

    def queue(self, service: Service, replicas: int) -> None:
        """Let ten times the limit of all replicas wait, and no more (queue-proxy's breaker)."""
        if self._envoy is not None and service.container_concurrency:
            length = ingress.QUEUED_FOR_EACH * service.container_concurrency * max(1, replicas)
            self._envoy.set_queue(ingress.cluster_name(service.namespace, service.revision), length)

    def counts(self) -> Mapping[str, envoy.Count]:
        """What was counted, by cluster.

        Raises:
            OSError: Envoy does not answer.
        """
        if self._envoy is None:
            raise ConnectionError("Envoy is not up")
        return self._envoy.counts()

    async def forgotten(self, cluster: str, port: int) -> None:
        """Wait until nothing more goes to a port: it is out of the cluster, and no connection to it is left."""
        while True:
            try:
                known = self._envoy is not None and port in self._envoy.places().get(cluster, ())
            except OSError:
                known = True
            if not known and not connections(port):
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _knows(self, revisions: Sequence[Service]) -> None:
        """Wait until Envoy has every cluster, so that no route leads to one that it has not yet."""
        names = {ingress.cluster_name(one.namespace, one.revision) for one in revisions}
        for _ in range(250):
            if self._envoy is None or self._envoy.process.poll() is not None:
                return
            try:
                if names <= self._envoy.places().keys():
                    return
            except OSError:
                # Not up yet: it will read the files as it starts.
                return
            await asyncio.sleep(_POLL_SECONDS)

    def _write(self, kind: str, name: str, resources: Iterable[Mapping[str, object]]) -> None:
        text = json.dumps(ingress.discovered(kind, resources))
        if self._written.get(name) != text:
            self._written[name] = text
            # Envoy follows a file that is moved into its place, not one that is written.
            State.write(self._folder / name, text)


def connections(port: int) -> bool:
    """Whether somebody is connected to a port of loopback; where it cannot be known (macOS), nobody is."""
    try:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return False
    wanted = f":{port:04X}"
    return any(
        fields[1].endswith(wanted) and fields[3] == _ESTABLISHED for fields in (line.split(None, 4) for line in lines)
    )
