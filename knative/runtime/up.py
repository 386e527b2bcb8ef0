"""`wake up`: everything the YAML asks for, running, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from knative.runtime import (
    addresses,
    broker,
    child,
    environment,
    envoy,
    ingress,
    jobs,
    nats,
    postgres,
    provision,
)
from knative.runtime.autoscaler import Decision, Scale, decide
from knative.runtime.forkserver import Command, ForkServer
from knative.runtime.pingsource import Pinger
from knative.runtime.resources import Platform, Service
from knative.runtime.revision import Phase, Revision
from knative.runtime.state import State, process_started
from knative.runtime.supervisor import Supervisor

_SCALE_TICK_SECONDS = 1.0
# Ctrl-C must be over within five seconds: functions and the Broker drain side by side, the servers take what is left.
_DRAIN_SECONDS = 2.5


class PortTaken(Exception):
    """Somebody else listens where we were told to."""


class NotRunnable(Exception):
    """A Service's container is nothing that can be run here."""


@dataclass(frozen=True)
class Options:
    """What `wake up` was asked for; ports 0 mean any free one."""

    root: Path
    host: str
    port: int
    broker_port: int


class Runtime:
    """The platform of one set of manifests, running on this machine."""

    def __init__(self, platform: Platform, state: State, options: Options) -> None:
        self._platform = platform
        self._state = state
        self._options = options
        self._supervisor = Supervisor(self._tell, self._changed)
        self._fork_server: ForkServer | None = None
        self._envoy: envoy.Envoy | None = None
        self._postgres: postgres.Postgres | None = None
        self._revisions: dict[tuple[str, str], Revision] = {}
        self._since = time.time()
        self._port = _claimed(options.host, options.port, "WAKE_PORT")
        self._broker_port = _claimed(options.host, options.broker_port, "WAKE_BROKER_PORT")
        self._gateway_port = child.free_port()
        self._postgres_port = child.free_port()
        self._nats_port = child.free_port()
        self._status_due = False
        self._up = False
        self.started = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://localhost:{self._port}"

    @property
    def _broker_ingress(self) -> str:
        return f"http://127.0.0.1:{self._broker_port}"

    @property
    def _gateway(self) -> str:
        return f"http://127.0.0.1:{self._gateway_port}"

    async def run(self, *, after_crash: bool, stop: asyncio.Event) -> None:
        """Start everything, serve until *stop* is set, stop everything.

        Raises:
            StartFailed, JobFailed, MissingValue, NotRunnable: before anything was served; the message says what to do.
        """
        try:
            await self._start()
            self._announce()
            tasks = [self._scale()] + [pinger.run() for pinger in self._pingers()]
            if after_crash:
                self._tell("the last run ended without stopping: every PingSource fires once, to sweep what it left")
                tasks += [pinger.send() for pinger in self._pingers()]
            for task in tasks:
                self._later(task)
            await stop.wait()
        finally:
            await self._stop()

    async def _start(self) -> None:
        children = {**environment.of_machine(), **environment.of_neighbours(self._gateway)}
        packages = sorted({_module(service).partition(".")[0] for service in self._platform.services.values()})
        data = self._state.folder
        log = self._state.log

        def start_fork_server() -> ForkServer:
            self._fork_server = ForkServer.launch(packages, self._options.root, log("forkserver"), children)
            return self._fork_server

        def start_postgres() -> postgres.Postgres:
            self._postgres = postgres.start(data / "postgres", self._postgres_port, log("postgres"))
            return self._postgres

        channel: list[nats.Nats] = []

        def start_nats() -> nats.Nats:
            channel[:] = [nats.start(data / "nats", self._nats_port, log("nats-server"))]
            return channel[0]

        await asyncio.gather(
            self._supervisor.start("forkserver", start_fork_server),
            self._supervisor.start("nats-server", start_nats),
            self._supervisor.start("postgres", start_postgres),
        )
        start_broker = self._supervisor.start(
            "broker",
            lambda: broker.start(
                addresses.broker_documents(self._platform, self._broker_ingress),
                folder=self._state.run,
                channel=channel[0].url,
                host=self._options.host,
                port=self._broker_port,
                journal=self._state.journal,
                log=log("broker"),
                environment=children,
            ),
        )
        await asyncio.gather(start_broker, self._start_serving())
        for revision in self._revisions.values():
            revision.watch()
        self._up = self.started = True
        self._write_status()

    async def _start_serving(self) -> None:
        """Databases and Secrets, then the revisions' sockets, then the gateway before them and the Jobs beside it."""
        assert self._postgres is not None  # noqa: S101 - started by the caller.
        provisions = provision.complete(self._platform, self._postgres_port, self._state.secrets)
        await provision.create_databases(self._postgres, provisions.databases)
        values = environment.Values.of(self._platform, provisions.secrets)
        for key, service in self._platform.services.items():
            self._revisions[key] = self._revision(service, values)
        configuration = ingress.bootstrap(
            self._platform,
            ingress.EnvoyPorts(
                public_host=self._options.host,
                public_port=self._port,
                internal_port=self._gateway_port,
                admin_socket=str(admin := self._state.socket("envoy.sock")),
            ),
            {key: revision.port for key, revision in self._revisions.items()},
        )

        def start_envoy() -> envoy.Envoy:
            self._envoy = envoy.start(configuration, self._state.run, admin, self._state.log("envoy"))
            return self._envoy

        await asyncio.gather(
            self._supervisor.start("envoy", start_envoy),
            jobs.run_all(self._platform.jobs, self._options.root, values, self._state),
        )

    def _revision(self, service: Service, values: environment.Values) -> Revision:
        defaults = self._platform.autoscaler
        return Revision(
            namespace=service.namespace,
            name=service.name,
            command=Command(
                module=_module(service),
                arguments=_arguments(service),
                folder=self._options.root / (service.container.working_directory or "."),
                environment=environment.of_service(service, values, self._gateway, self._broker_ingress),
            ),
            scale=Scale(
                min_scale=service.min_scale,
                stable_window_seconds=service.stable_window_seconds or defaults.stable_window_seconds,
                scale_to_zero_grace_period_seconds=defaults.scale_to_zero_grace_period_seconds,
                scale_down_delay_seconds=service.scale_down_delay_seconds,
            ),
            protocol=service.protocol,
            timeout_seconds=service.timeout_seconds,
            log=self._state.log(service.name),
            fork_server=self._running_fork_server,
            changed=self._changed,
        )

    def _running_fork_server(self) -> ForkServer:
        assert self._fork_server is not None  # noqa: S101 - revisions wake after it was started.
        return self._fork_server

    def _pingers(self) -> list[Pinger]:
        return [
            Pinger(
                source,
                addresses.url(source.sink, self._broker_ingress),
                ("127.0.0.1", self._gateway_port),
                self._tell,
            )
            for source in self._platform.ping_sources
        ]

    async def _scale(self) -> None:
        """Every second that something is awake, look at what the gateway counted, and put to sleep what is idle."""
        while True:
            await asyncio.sleep(_SCALE_TICK_SECONDS)
            awake = {
                f"{namespace}/{name}": revision
                for (namespace, name), revision in self._revisions.items()
                if revision.phase is Phase.AWAKE
            }
            if not awake or self._envoy is None:
                continue
            try:
                counts = self._envoy.counts()
            except OSError:
                # The gateway is being started again; without its numbers nothing is put to sleep.
                continue
            now = time.monotonic()
            for cluster, revision in awake.items():
                count = counts.get(cluster, envoy.Count(0, 0))
                observed = revision.observe(count.active, count.total, now)
                if decide(observed, revision.scale, now) is Decision.SLEEP:
                    self._later(revision.sleep())
            self._changed()

    async def _stop(self) -> None:
        self._up = False
        for task in self._tasks:
            task.cancel()
        drained = [revision.close(_DRAIN_SECONDS) for revision in self._revisions.values()]
        await asyncio.gather(self._supervisor.stop("broker"), *drained)
        await self._supervisor.stop("envoy", "forkserver", "nats-server", "postgres")

    def _changed(self) -> None:
        """Write the status soon; several changes in a moment are one write."""
        if self._up and not self._status_due:
            self._status_due = True
            asyncio.get_running_loop().call_later(0.05, self._write_status)

    def _write_status(self) -> None:
        self._status_due = False
        if not self._up:
            return
        try:
            self._state.write_status(self._status())
        except FileNotFoundError:
            self._tell(f"{self._state.folder} was deleted while Wake runs on it: stop it, and start it again")

    def _status(self) -> Mapping[str, Any]:
        return {
            "pid": os.getpid(),
            "started": process_started(os.getpid()),
            "since": self._since,
            "url": self.url,
            "broker": self._broker_ingress,
            "gateway": self._gateway,
            "postgres_port": self._postgres_port,
            "parts": self._supervisor.pids,
            "brokers": [f"{one.namespace}/{one.name}" for one in self._platform.brokers],
            "services": [
                {
                    "namespace": revision.namespace,
                    "name": revision.name,
                    "phase": revision.phase.value,
                    "pid": revision.pid,
                    "since": revision.since,
                    "starts": revision.starts,
                    "crashes": revision.crashes,
                    "requests_active": revision.requests_active,
                    "requests_total": revision.requests_total,
                }
                for revision in self._revisions.values()
            ],
        }

    def _announce(self) -> None:
        namespaces = sorted({namespace for namespace, _ in self._platform.services})
        for file in self._platform.unlisted:
            self._tell(f"{file} is in no kustomization.yaml: it runs here, but a cluster would not get it")
        print(f"Wake is up: {len(self._revisions)} functions, all asleep until somebody calls.\n")
        print(f"  API      {self.url}  (a function alone: http://NAME.{namespaces[0]}.localhost:{self._port}/)")
        for one in self._platform.brokers:
            print(f"  Broker   http://localhost:{self._broker_port}/{one.namespace}/{one.name}")
        print(f"  State    {_short(self._state.folder)}/  (logs in {_short(self._state.logs)}/)\n")
        print(
            "In a second terminal: .venv/bin/wake demo, .venv/bin/wake ps, .venv/bin/wake --help. Ctrl-C stops it.\n",
            flush=True,
        )

    def _tell(self, sentence: str) -> None:
        print(f"{datetime.now().astimezone():%H:%M:%S} {sentence}", flush=True)

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _module(service: Service) -> str:
    """The module of `python -m MODULE …`, which is what can be run here.

    Raises:
        NotRunnable: the container does something else.
    """
    command = [*service.container.command, *service.container.args]
    if len(command) < 3 or Path(command[0]).name not in {"python", "python3"} or command[1] != "-m":
        raise NotRunnable(
            f"Service {service.name}: the local runtime runs containers whose command is `python -m MODULE …`, "
            f"not {' '.join(command) or 'the entry point of ' + service.container.image}"
        )
    return command[2]


def _arguments(service: Service) -> tuple[str, ...]:
    return (*service.container.command, *service.container.args)[3:]


def _claimed(host: str, port: int, setting: str) -> int:
    """A port that can be listened on now.

    Raises:
        PortTaken: with a sentence that says what to do.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            flag = setting.removeprefix("WAKE_").lower().replace("_", "-")
            raise PortTaken(
                f"Port {port} on {host} cannot be used ({error.strerror}): stop what uses it, "
                f"or choose another with {setting}=9090 make up (or wake up --{flag} 9090)"
            ) from error
        claimed: int = probe.getsockname()[1]
        return claimed


def _short(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


async def up(platform: Platform, state: State, options: Options, *, after_crash: bool) -> None:
    """Run until SIGINT or SIGTERM; a second one ends at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask_to_stop() -> None:
        if stop.is_set():
            os._exit(130)
        print("\nStopping: what is in hand is finished first (ctrl-C again to kill).", flush=True)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ask_to_stop)
    runtime = Runtime(platform, state, options)
    work = asyncio.create_task(runtime.run(after_crash=after_crash, stop=stop))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not runtime.started:
        # Asked to stop while it was starting: there is nothing in hand yet.
        work.cancel()
    stopping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
