"""`wake up`: everything the YAML asks for, running, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shlex
import signal
import socket
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from knative.runtime import (
    addresses,
    broker,
    channel,
    child,
    disk,
    environment,
    history,
    ingress,
    jobs,
    postgres,
    provision,
    reload,
)
from knative.runtime.forkserver import ForkServer
from knative.runtime.gateway import Gateway
from knative.runtime.kustomize import ManifestErrors
from knative.runtime.launch import Sourcing
from knative.runtime.manifests import load
from knative.runtime.pingsource import Pinger
from knative.runtime.resources import Key, PingSource, Platform, Routed
from knative.runtime.serving import NotRunnable, Serving, Surroundings, is_program, is_wakes, launcher
from knative.runtime.state import State, process_started
from knative.runtime.supervisor import Supervisor

# Ctrl-C must be over within five seconds: functions and the Broker drain side by side, the servers take what is left.
_DRAIN_SECONDS = 2.5
# So long a Broker may take to reach its server before that is said.
_PATIENCE_SECONDS = 2.0
_PARTS = ("envoy", "forkserver", *channel.PARTS.values(), "postgres")


class PortTaken(Exception):
    """Somebody else listens where we were told to."""


@dataclass(frozen=True)
class Options:
    """What `wake up` was asked for; ports 0 mean any free one."""

    root: Path
    manifests: Path
    host: str
    port: int
    broker_port: int
    channel: channel.Choice = field(default_factory=channel.Choice)


class Runtime:
    """The platform of one set of manifests, running on this machine."""

    def __init__(self, platform: Platform, state: State, options: Options) -> None:
        self._platform = platform
        self._state = state
        self._options = options
        self._supervisor = Supervisor(self._tell, self._changed, self._restarted)
        self._fork_server: ForkServer | None = None
        self._postgres: postgres.Postgres | None = None
        self._channel: channel.Server | None = None
        self._broker: broker.Broker | None = None
        self._since = time.time()
        if options.port and options.port == options.broker_port:
            raise PortTaken(
                f"The API and the Broker cannot both have port {options.port}: choose another for one of them"
            )
        self._port = _claimed(options.host, options.port, "WAKE_PORT")
        self._broker_port = _claimed(options.host, options.broker_port, "WAKE_BROKER_PORT")
        self._gateway_port = child.free_port()
        self._postgres_port = child.free_port()
        self._channel_port = child.free_port()
        self._gateway = Gateway(
            state.run / "envoy",
            ingress.EnvoyPorts(options.host, self._port, self._gateway_port, str(state.socket("envoy.sock"))),
        )
        self._serving = Serving(self._gateway, state, self._running_fork_server, self._tell, self._changed)
        self._children = {**environment.of_machine(), **environment.of_neighbours(self._gateway_url)}
        self._status_due = False
        self._up = False
        self.started = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._pinging: list[tuple[PingSource, asyncio.Task[None]]] = []

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://localhost:{self._port}"

    @property
    def _broker_ingress(self) -> str:
        return f"http://127.0.0.1:{self._broker_port}"

    @property
    def _gateway_url(self) -> str:
        return f"http://127.0.0.1:{self._gateway_port}"

    async def run(self, *, after_crash: bool, stop: asyncio.Event) -> None:
        """Start everything, serve until *stop* is set, stop everything.

        Raises:
            StartFailed, JobFailed, MissingValue, NotRunnable, NoSuchRevision: before anything was served; the message
            says what to do.
        """
        try:
            await self._start()
            self._announce()
            self._later(self._serving.scale())
            self._later(self._follow_saves())
            self._later(self._watch_disk())
            self._ping()
            await self._run_sources()
            if after_crash and self._platform.ping_sources:
                self._tell("the last run ended without stopping: every PingSource fires once, to sweep what it left")
                self._fire_sources()
            await stop.wait()
        finally:
            await self._stop()

    async def _start(self) -> None:
        routed = history.revise(self._platform, self._state.folder / "revisions.json")
        self._refuse_what_cannot_run(routed)
        # Side by side: RabbitMQ needs seconds, in which all the rest can be started.
        events = self._start_events() if _has_events(self._platform) else _nothing()
        await asyncio.gather(events, self._start_rest(routed))
        self._serving.watch()
        self._up = self.started = True
        self._write_status()

    def _refuse_what_cannot_run(self, routed: Mapping[Key, Routed]) -> None:
        """Before anything is started: the images are known, or something stands in for them."""
        nothing = environment.Values({}, {})
        for one in routed.values():
            for service in one.revisions.values():
                with contextlib.suppress(environment.MissingValue):
                    launcher(service, self._surroundings(nothing), self._running_fork_server)

    def _starting_parts(self, platform: Platform) -> list[Coroutine[Any, Any, None]]:
        """The parts that this YAML needs and that do not run yet: what it does not need is not started."""
        running = self._supervisor.pids
        parts: list[Coroutine[Any, Any, None]] = []
        if "forkserver" not in running and _packages(platform):
            parts.append(self._supervisor.start("forkserver", self._launch_fork_server))
        if "postgres" not in running and _has_databases(platform):
            parts.append(self._supervisor.start("postgres", self._start_postgres))
        return parts

    async def _start_rest(self, routed: Mapping[Key, Routed]) -> None:
        await asyncio.gather(*self._starting_parts(self._platform))
        await self._start_serving(routed)

    async def _start_events(self) -> None:
        """What keeps the events, then the Broker over it."""
        if note := channel.switched(self._options.channel.kind, self._state):
            self._tell(note)
        if (part := self._options.channel.part) is not None:
            await self._supervisor.start(part, self._start_channel)
        await self._start_broker()

    def _launch_fork_server(self) -> ForkServer:
        self._fork_server = ForkServer.launch(
            _packages(self._platform), self._options.root, self._state.log("forkserver"), self._children
        )
        return self._fork_server

    def _start_postgres(self) -> postgres.Postgres:
        folder = self._state.folder / "postgres"
        self._postgres = postgres.start(folder, self._postgres_port, self._state.log("postgres"))
        return self._postgres

    def _start_channel(self) -> channel.Server:
        self._channel = channel.start(self._options.channel.kind, self._state, self._channel_port, self._channel)
        return self._channel

    async def _start_broker(self) -> None:
        url = self._options.channel.url
        if self._channel is not None:
            url = self._channel.url

        def start() -> broker.Broker:
            self._broker = broker.start(
                addresses.broker_documents(self._platform, self._broker_ingress),
                folder=self._state.run,
                channel=url,
                host=self._options.host,
                port=self._broker_port,
                journal=self._state.journal,
                log=self._state.log("broker"),
                environment=self._children,
            )
            return self._broker

        # Somebody else's server may be away, and is waited for: whoever watches should know what for.
        where = urlsplit(url)
        saying = asyncio.get_running_loop().call_later(
            _PATIENCE_SECONDS, self._tell, f"waiting for {where.scheme}://{where.hostname}: it does not answer yet"
        )
        try:
            await self._supervisor.start("broker", start)
        finally:
            saying.cancel()

    async def _start_serving(self, routed: Mapping[Key, Routed]) -> None:
        """Databases and Secrets, then the revisions' sockets, then the gateway before them and the Jobs beside it."""
        values = await self._values(self._platform)
        await self._serving.apply(routed, self._platform.routes, self._surroundings(values), self._platform.autoscaler)
        await asyncio.gather(
            self._supervisor.start("envoy", lambda: self._gateway.start(self._state.log("envoy"))),
            jobs.run_all(self._platform.jobs, self._options.root, values, self._state),
        )

    async def _values(self, platform: Platform) -> environment.Values:
        provisions = provision.complete(platform, self._postgres_port, self._state.secrets)
        if self._postgres is not None:
            await provision.create_databases(self._postgres, provisions.databases)
        return environment.Values.of(platform, provisions.secrets)

    def _surroundings(self, values: environment.Values) -> Surroundings:
        return Surroundings(values, self._gateway_url, self._broker_ingress, self._options.root)

    def _running_fork_server(self) -> ForkServer:
        assert self._fork_server is not None  # noqa: S101 - revisions that need it wake after it was started.
        return self._fork_server

    def _pinger(self, source: PingSource) -> Pinger:
        sink = addresses.url(source.sink, self._broker_ingress)
        return Pinger(source, sink, ("127.0.0.1", self._gateway_port), self._tell)

    def _fire_sources(self) -> None:
        for source in self._platform.ping_sources:
            self._later(self._pinger(source).send())

    def _restarted(self, name: str) -> None:
        """Events that nobody took while this part was away are swept now, and not at the next tick.

        With the fork server every function ended, and may have left what it had committed and not yet published.
        """
        if self._up and name in {"broker", "forkserver", *channel.PARTS.values()}:
            self._fire_sources()

    def _ping(self) -> None:
        """Run the PingSources that there are now."""
        wanted = self._platform.ping_sources
        for source, task in self._pinging:
            if source not in wanted:
                task.cancel()
        self._pinging = [one for one in self._pinging if one[0] in wanted]
        running = [source for source, _ in self._pinging]
        for source in wanted:
            if source not in running:
                self._pinging.append((source, asyncio.get_running_loop().create_task(self._pinger(source).run())))

    async def _run_sources(self) -> None:
        """Run the ContainerSources that there are now; one that ends is started again."""
        values = await self._values(self._platform)
        wanted = {f"source-{one.name}": one for one in self._platform.container_sources}
        stale = [name for name in self._supervisor.pids if name.startswith("source-")]
        await self._supervisor.stop(*stale)
        for name, source in wanted.items():
            variables = environment.of_source(source, values, self._gateway_url, self._broker_ingress)
            command = (*shlex.split(source.command), *source.container.args)
            log = self._state.log(name)
            await self._supervisor.start(name, partial(Sourcing.start, command, source.folder, variables, log))

    async def _watch_disk(self) -> None:
        """Say that the disk is full, and take up what stopped for it once it is not."""
        with contextlib.suppress(FileNotFoundError):
            async for full in disk.changes(self._state.folder):
                if full:
                    self._tell(
                        f"the disk of {self._state.folder} is full: events wait in the outboxes until there is room"
                    )
                    continue
                self._tell(f"the disk of {self._state.folder} has room again")
                self._changed()
                await self._supervisor.restart(channel.PARTS["nats"])

    async def _follow_saves(self) -> None:
        """Take what is saved for as long as this runs, where the machine lets us see it."""
        try:
            await self._take_saves()
        except reload.NotFollowed as error:
            self._tell(f"what you save takes effect at the next `wake up` only: {error}")

    async def _take_saves(self) -> None:
        """What is saved takes effect at the next request; what is broken leaves the last good one in force."""
        place = self._options.manifests.resolve()
        folders = [place if place.is_dir() else place.parent]
        programs = folders[0] if any(map(is_program, self._platform.services.values())) else None
        if _packages(self._platform):
            folders += reload.sources(self._options.root)
        async for saved in reload.saves(folders, programs):
            try:
                if saved.manifests or saved.sql:
                    await self._apply(saved)
                if saved.code:
                    await self._take_code()
                if saved.programs:
                    await self._serving.replace(programs=True)
                    self._tell("the programs' files were saved and are in force")
            except (child.StartFailed, jobs.JobFailed, environment.MissingValue, OSError) as error:
                self._tell(f"not taken, the last good one stays: {error}")
            except (ManifestErrors, NotRunnable, history.NoSuchRevision, ValueError) as error:
                self._tell(f"the YAML is not taken, the last good one stays:\n{error}")

    async def _apply(self, saved: reload.Saved) -> None:
        """Read the YAML again, and change what has changed."""
        platform = load(self._options.manifests)
        if platform == self._platform and not saved.sql:
            return
        routed = history.revise(platform, self._state.folder / "revisions.json")
        await asyncio.gather(*self._starting_parts(platform))
        values = await self._values(platform)
        await jobs.run_all(platform.jobs, self._options.root, values, self._state)
        await self._serving.apply(routed, platform.routes, self._surroundings(values), platform.autoscaler)
        self._serving.watch()
        self._platform = platform
        if _has_events(platform):
            if self._broker is None:
                await self._start_events()
            else:
                self._broker.reread(addresses.broker_documents(platform, self._broker_ingress))
        self._ping()
        await self._run_sources()
        self._tell("the YAML was saved and is in force")

    async def _take_code(self) -> None:
        """Import the new code beside the old; only when that went well do functions run on it."""
        if not _packages(self._platform):
            return
        before = self._fork_server
        new = ForkServer.launch(
            _packages(self._platform), self._options.root, self._state.log("forkserver"), self._children
        )
        if error := await new.loaded:
            new.stop()
            new.close()
            self._tell(f"the code is not taken, the last good one stays: {error}")
            return
        self._fork_server = new
        self._supervisor.replace("forkserver", new, self._launch_fork_server)
        await self._serving.replace()
        self._tell("the code was saved and is in force")
        if before is not None:
            self._later(_ended_when_empty(before))

    async def _stop(self) -> None:
        self._up = False
        for task in [*self._tasks, *(task for _, task in self._pinging)]:
            task.cancel()
        await asyncio.gather(self._supervisor.stop("broker"), self._serving.close(_DRAIN_SECONDS))
        others = [name for name in self._supervisor.pids if name not in _PARTS]
        await self._supervisor.stop(*others)
        await self._supervisor.stop(*_PARTS)

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
        except OSError as error:
            # A full disk, which is said elsewhere, and once.
            if error.errno != errno.ENOSPC:
                raise

    def _status(self) -> Mapping[str, Any]:
        return {
            "pid": os.getpid(),
            "started": process_started(os.getpid()),
            "since": self._since,
            "manifests": str(self._options.manifests.resolve()),
            "url": self.url,
            "broker": self._broker_ingress,
            "gateway": self._gateway_url,
            "postgres_port": self._postgres_port,
            "parts": self._supervisor.pids,
            "brokers": [f"{one.namespace}/{one.name}" for one in self._platform.brokers],
            "services": self._serving.status(),
        }

    def _announce(self) -> None:
        namespaces = sorted({namespace for namespace, _ in self._platform.services}) or ["default"]
        count = len(self._platform.services)
        for file in self._platform.unlisted:
            self._tell(f"{file} is in no kustomization.yaml: it runs here, but a cluster would not get it")
        print(f"Wake is up: {count} function{'s' * (count != 1)}, all asleep until somebody calls.\n")
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


def _packages(platform: Platform) -> list[str]:
    """The Python packages whose functions are forked."""
    words = [(*one.container.command, *one.container.args) for one in platform.services.values() if is_wakes(one)]
    return sorted({one[2].partition(".")[0] for one in words if len(one) > 2})


def _has_databases(platform: Platform) -> bool:
    return any(provision.DATABASE in one.annotations for one in platform.secrets.values())


def _has_events(platform: Platform) -> bool:
    return bool(platform.brokers or platform.messaging)


async def _nothing() -> None:
    """For a part that this YAML does not need."""


async def _ended_when_empty(server: ForkServer) -> None:
    """End a fork server once the last process that it forked has ended."""
    while server.children:
        await asyncio.sleep(0.5)
    await asyncio.to_thread(server.stop)
    server.close()


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
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise PortTaken(
                    f"{host} is no address that can be listened on here ({error.strerror}): see WAKE_HOST"
                ) from error
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
