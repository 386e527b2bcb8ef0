"""Everything that serves requests: the revisions behind the gateway, and the loop that scales them."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shlex
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knative.runtime import autoscaler, environment, hpa, ingress, scaling
from knative.runtime.envoy import Count
from knative.runtime.forkserver import Command, ForkServer
from knative.runtime.gateway import Gateway
from knative.runtime.launch import ForkLauncher, Launcher, ProgramLauncher
from knative.runtime.probes import Probe
from knative.runtime.resources import Key, Route, Routed, Service
from knative.runtime.revision import Phase, Revision
from knative.runtime.state import State

LOCAL_COMMAND = "wake.dev/local-command"
# A laptop is no cluster: more replicas than this are not started, whatever max-scale says.
REPLICAS_MAX = 32
_TICK = round(autoscaler.TICK_SECONDS / autoscaler.SAMPLE_SECONDS)


class NotRunnable(Exception):
    """A Service's container is nothing that can be run here."""


@dataclass(frozen=True)
class Surroundings:
    """What processes are started with, besides what their manifest says."""

    values: environment.Values
    gateway: str
    broker_ingress: str
    root: Path


@dataclass
class _Live:
    """A revision that is served, and what its autoscaler remembers."""

    service: Service
    revision: Revision
    kpa: autoscaler.Spec
    samples: deque[autoscaler.Sample]
    memory: autoscaler.Memory = field(default_factory=autoscaler.Memory)
    recommended: tuple[tuple[float, int], ...] = ()
    cpu: tuple[float, float] = (0.0, 0.0)
    requests_active: int = 0
    requests_total: int = 0


class Serving:
    """The revisions of every Service."""

    def __init__(
        self,
        gateway: Gateway,
        state: State,
        fork_server: Callable[[], ForkServer],
        tell: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self._gateway = gateway
        self._state = state
        self._fork_server = fork_server
        self._tell = tell
        self._changed = changed
        self._live: dict[str, _Live] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def apply(
        self,
        routed: Mapping[Key, Routed],
        routes: Iterable[Route],
        surroundings: Surroundings,
        autoscaler_defaults: Mapping[str, str],
    ) -> None:
        """Serve these Services from now on; revisions that did not change are left as they run.

        Raises:
            NotRunnable, MissingValue: one of them cannot be run; nothing was changed then.
        """
        wanted = {
            ingress.cluster_name(one.namespace, one.revision): one
            for entry in routed.values()
            for one in entry.revisions.values()
        }
        launchers = {name: launcher(service, surroundings, self._fork_server) for name, service in wanted.items()}
        for name, service in wanted.items():
            spec = scaling.of_kpa(service, autoscaler_defaults)
            samples: deque[autoscaler.Sample] = deque(maxlen=math.ceil(spec.stable_window) + 1)
            live = self._live.get(name)
            if live is None:
                self._live[name] = _Live(service, self._revision(service, launchers[name], spec), spec, samples)
            else:
                # Environment that comes from ConfigMaps is the next process's, as on a cluster.
                live.revision.launcher = launchers[name]
                live.service, live.kpa = service, spec
                live.samples = deque(live.samples, samples.maxlen)
        gone = {name: self._live.pop(name) for name in list(self._live) if name not in wanted}
        ports = {name: live.revision.ports for name, live in self._live.items()}
        await self._gateway.configure(routed, routes, ports)
        for live in gone.values():
            task = asyncio.create_task(self._retire(live))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        self._changed()

    async def _retire(self, live: _Live) -> None:
        """Let a revision that gets no more requests finish those it has."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(live.revision.timeout_seconds):
                for port in live.revision.ports:
                    await self._gateway.forgotten(live.revision.cluster, port)
        await live.revision.close(live.revision.timeout_seconds)

    def _revision(self, service: Service, launcher: Launcher, spec: autoscaler.Spec) -> Revision:
        at_least = max(1, scaling.of_hpa(service).min_scale) if scaling.is_hpa(service) else spec.min_scale
        if not spec.scale_to_zero:
            at_least = max(1, at_least)
        return Revision(
            namespace=service.namespace,
            service=service.name,
            name=service.revision,
            launcher=launcher,
            protocol=service.protocol,
            timeout_seconds=service.timeout_seconds,
            readiness=service.readiness,
            liveness=service.liveness,
            at_least=at_least,
            from_zero=max(spec.activation_scale, 1),
            log=self._state.log(service.name),
            gateway=self._gateway,
            changed=self._changed,
            tell=self._tell,
        )

    def watch(self) -> None:
        """Begin to wake revisions; those that already are watched stay so."""
        for live in self._live.values():
            live.revision.watch()
            if live.kpa.initial_scale > 0 and live.revision.starts == 0:
                live.revision.start(live.kpa.initial_scale)

    async def replace(self, *, programs: bool = False) -> None:
        """New processes in the place of those that run, because their code has changed: functions, or programs."""
        for live in list(self._live.values()):
            concerned = isinstance(live.revision.launcher, ProgramLauncher if programs else ForkLauncher)
            if concerned and not await live.revision.replace():
                self._tell(f"{live.service.name} does not come up with its new code: the old process stays")

    async def scale(self) -> None:
        """Look every second at what the gateway counted, and decide every two how many replicas there should be."""
        looks = 0
        while True:
            await asyncio.sleep(autoscaler.SAMPLE_SECONDS)
            awake = [live for live in self._live.values() if live.revision.phase is Phase.AWAKE]
            if not awake:
                continue
            try:
                counts = self._gateway.counts()
            except OSError:
                # The gateway is being started again; without its numbers nothing is changed.
                continue
            looks += 1
            now = time.monotonic()
            for live in awake:
                self._look(live, counts.get(live.revision.cluster, Count(0, 0)), now)
                if looks % _TICK == 0:
                    self._decide(live, now)
            self._changed()

    def _look(self, live: _Live, count: Count, now: float) -> None:
        came = max(0, count.total - live.requests_total)
        value = float(came) if scaling.metric(live.service) == "rps" else float(count.active)
        # Requests that came and went between two looks are work too, if little.
        live.samples.append(autoscaler.Sample(now, max(value, 0.01 if came else 0.0)))
        live.requests_active, live.requests_total = count.active, count.total

    def _decide(self, live: _Live, now: float) -> None:
        revision = live.revision
        if scaling.is_hpa(live.service):
            used = _cpu_seconds(revision.pids)
            (before, at), live.cpu = live.cpu, (used, now)
            if at and now - at >= hpa.PERIOD_SECONDS:
                cores = max(0.0, used - before) / (now - at)
                spec = scaling.of_hpa(live.service)
                desired, live.recommended = hpa.decide(revision.replicas, cores, spec, live.recommended, now)
                revision.scale(min(desired, REPLICAS_MAX))
            elif at:
                live.cpu = (before, at)
            return
        observed = autoscaler.Observed(revision.replicas, live.samples, live.memory)
        decision = autoscaler.decide(observed, live.kpa, now)
        live.memory = decision.memory
        desired = min(decision.desired, REPLICAS_MAX)
        if desired != revision.replicas:
            self._gateway.queue(live.service, desired)
            revision.scale(desired)
        if desired == 0:
            live.samples.clear()

    def status(self) -> list[dict[str, Any]]:
        """What `wake ps` shows of each revision."""
        return [
            {
                "namespace": live.revision.namespace,
                "name": live.service.name,
                "revision": live.revision.name,
                "phase": live.revision.phase.value,
                "pid": next(iter(live.revision.pids), None),
                "pids": live.revision.pids,
                "replicas": live.revision.replicas,
                "since": live.revision.since,
                "starts": live.revision.starts,
                "crashes": live.revision.crashes,
                "requests_active": live.requests_active,
                "requests_total": live.requests_total,
            }
            for live in self._live.values()
        ]

    async def close(self, patience_seconds: float) -> None:
        """Stop everything, side by side."""
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*(live.revision.close(patience_seconds) for live in self._live.values()))


def launcher(service: Service, around: Surroundings, fork_server: Callable[[], ForkServer]) -> Launcher:
    """How a Service's container is run here.

    Raises:
        NotRunnable: its image is not Wake's own, and no annotation says what stands in for it.
        MissingValue: a variable refers to nothing.
    """
    variables = environment.of_service(service, around.values, around.gateway, around.broker_ingress)
    asked = service.annotations.get(LOCAL_COMMAND)
    if asked is not None:
        command = (*shlex.split(asked), *service.container.args)
        return ProgramLauncher(command, service.folder, variables, service.readiness or Probe("tcpSocket"))
    words = [*service.container.command, *service.container.args]
    if not is_wakes(service) or len(words) < 3 or Path(words[0]).name not in {"python", "python3"} or words[1] != "-m":
        raise NotRunnable(
            f"Service {service.name}: there is no container engine here, and its image {service.container.image} is "
            f"not Wake's own: say what stands in for it by the template's annotation {LOCAL_COMMAND} "
            '(any program that listens on $PORT, such as "python3 app.py")'
        )
    folder = around.root / (service.container.working_directory or ".")
    return ForkLauncher(Command(words[2], tuple(words[3:]), folder, variables), fork_server)


def is_program(service: Service) -> bool:
    """Whether any program stands in for its image."""
    return LOCAL_COMMAND in service.annotations


def is_wakes(service: Service) -> bool:
    """Whether the image is the one that Wake's functions are built into, wherever it is pushed to."""
    name = service.container.image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return name == "wake"


def _cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time that processes have used so far; 0 where it cannot be known (macOS)."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
