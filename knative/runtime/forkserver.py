"""The fork server: a parent that has imported what functions share, and forks one child a function.

Importing FastAPI and its company takes some 500 ms; forking a process that has done so takes a few. Children share the
parent's memory until they write to it.

It is generic: `python -m PACKAGE ARGUMENTS` of a manifest becomes a fork that runs the same module with the same
arguments. Where PACKAGE has a module `preload`, the parent imports it once.

The runtime talks to it over a socket pair: one JSON object a line, and two file descriptors beside each start
(the listening socket, which the child finds as fd 3 by systemd's LISTEN_FDS protocol, and its log).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib
import importlib.util
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from knative.runtime import child

LISTEN_FDS_START = 3
_LINE_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True)
class Command:
    """What to run in a fork: a module as `python -m` would, in a folder, with exactly this environment."""

    module: str
    arguments: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]


class ForkServer:
    """The runtime's side: starts children and tells how each ended."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self.process = process
        self._channel = channel
        self._started: dict[int, asyncio.Future[int]] = {}
        self._exited: dict[int, Callable[[int], None]] = {}
        self._next = 0
        self._buffer = b""
        # What went wrong while the parent imported, or nothing; told once.
        self.loaded: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        channel.setblocking(False)
        asyncio.get_running_loop().add_reader(channel, self._read)

    @classmethod
    def launch(cls, packages: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]) -> ForkServer:
        """Start the parent, which goes on importing while the caller does other things; starts wait for it."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = child.start(
                [sys.executable, "-m", __name__, "--channel", str(theirs.fileno()), *packages],
                log=log,
                folder=folder,
                environment=environment,
                pass_fds=[theirs.fileno()],
            )
        return cls(process, ours)

    async def start(self, command: Command, listener: socket.socket, log: Path, exited: Callable[[int], None]) -> int:
        """Fork a child and answer its pid; *exited* is called once with its exit code (minus the signal's number)."""
        self._next += 1
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._started[self._next] = started
        line = json.dumps(
            {
                "start": self._next,
                "module": command.module,
                "arguments": command.arguments,
                "folder": str(command.folder),
                "environment": dict(command.environment),
            }
        ).encode()
        with log.open("ab") as output:
            # A message is far smaller than the socket's buffer, so that it goes out whole.
            socket.send_fds(self._channel, [line + b"\n"], [listener.fileno(), output.fileno()])
        pid = await started
        self._exited[pid] = exited
        return pid

    def _read(self) -> None:
        try:
            received = self._channel.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            received = b""
        if not received:
            self._lost()
            return
        *lines, self._buffer = (self._buffer + received).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        if "loaded" in message:
            self.loaded.set_result(message["loaded"])
        elif "started" in message:
            started = self._started.pop(message["started"])
            if started.cancelled():
                # Whoever wanted it has gone, and would never end it.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(message["pid"], signal.SIGKILL)
            else:
                started.set_result(message["pid"])
        else:
            # A child may end before whoever started it came back from waiting for its pid.
            asyncio.get_running_loop().call_soon(self._tell, message["pid"], message["exit"])

    def _tell(self, pid: int, code: int) -> None:
        if (exited := self._exited.pop(pid, None)) is not None:
            exited(code)

    def _lost(self) -> None:
        """The parent is gone, and with it (they die with their parent) every child."""
        self.close()
        if not self.loaded.done():
            self.loaded.set_result("the fork server ended")
        for started in self._started.values():
            if not started.done():
                started.set_exception(child.StartFailed("the fork server ended"))
        self._started.clear()
        for exited in list(self._exited.values()):
            exited(-signal.SIGKILL)
        self._exited.clear()

    @property
    def children(self) -> int:
        """How many of its children run."""
        return len(self._exited) + len(self._started)

    def wait_until_ready(self) -> None:
        """Nothing to wait for: starts that come while it still imports are kept in the channel."""

    def stop(self) -> None:
        """End the parent; its children, which die with it, were stopped before."""
        child.stop(self.process, patience_seconds=0.5)

    def close(self) -> None:
        """Close the channel."""
        with contextlib.suppress(ValueError, RuntimeError):
            asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """The parent's program."""
    parser = argparse.ArgumentParser(prog="forkserver", description=__doc__)
    parser.add_argument("--channel", type=int, required=True, help="file descriptor of the socket to the runtime")
    parser.add_argument("packages", nargs="*", help="packages whose `preload` is imported")
    options = parser.parse_args(arguments)
    channel = socket.socket(fileno=options.channel)
    # The folder of the functions comes first, as `python -m` has it.
    sys.path.insert(0, str(Path.cwd()))
    errors = [error for package in options.packages if (error := _preload(package)) is not None]
    # What was imported stays for ever: the collector must not touch, and so copy, the shared pages in every child.
    gc.collect()
    gc.freeze()
    _send(channel, {"loaded": "; ".join(errors)})
    _serve(channel)


# The compiled `__main__` of each package: children run what was good when the parent read it.
_MAINS: dict[str, CodeType] = {}


def _preload(package: str) -> str | None:
    """Import what the package says its functions share; answers in one line what went wrong."""
    try:
        if importlib.util.find_spec(f"{package}.preload") is not None:
            importlib.import_module(f"{package}.preload")
        spec = importlib.util.find_spec(f"{package}.__main__")
        code = None if spec is None else spec.loader.get_code(spec.name)  # type: ignore[union-attr]
        if code is not None:
            _MAINS[package] = code
    except Exception as error:  # noqa: BLE001 - told to whoever started us; each function's own start shows it too.
        traceback.print_exc()
        return _in_one_line(error)
    return None


def _in_one_line(error: Exception) -> str:
    """What went wrong, and the last file of ours that it came from."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    places = [one for one in traceback.extract_tb(error.__traceback__) if ".venv" not in one.filename]
    place = places[-1] if places else None
    where = "" if place is None or place.filename.startswith("<") else f"{place.filename}:{place.lineno}: "
    return f"{where}{type(error).__name__}: {error}"


def _serve(channel: socket.socket) -> None:
    """Fork on request, report ends, until the runtime closes the channel."""
    wake_reader, wake_writer = socket.socketpair()
    for end in (wake_reader, wake_writer):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(wake_writer.fileno(), warn_on_full_buffer=False)
    import select  # noqa: PLC0415 - only the parent needs it.

    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(wake_reader, select.POLLIN)
    buffer, descriptors = b"", list[int]()
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == wake_reader.fileno():
                with contextlib.suppress(BlockingIOError):
                    wake_reader.recv(4096)
                _report_ends(channel)
                continue
            received, new, _, _ = socket.recv_fds(channel, _LINE_BYTES_MAX, 64)
            if not received:
                return
            descriptors += new
            *lines, buffer = (buffer + received).split(b"\n")
            for line in lines:
                listener, log = descriptors.pop(0), descriptors.pop(0)
                _fork(channel, json.loads(line), listener, log)


def _report_ends(channel: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _send(channel, {"pid": pid, "exit": os.waitstatus_to_exitcode(status)})


def _send(channel: socket.socket, message: Mapping[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionError):
        channel.sendall(json.dumps(message).encode() + b"\n")


def _fork(channel: socket.socket, message: Mapping[str, Any], listener: int, log: int) -> None:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _become(message, listener, log, parent)
            code = _run(message["module"], message["arguments"])
        except BaseException:  # noqa: BLE001 - this is the end of a process, which must not return into the parent's loop.
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    os.close(listener)
    os.close(log)
    _send(channel, {"started": message["start"], "pid": pid})


def _become(message: Mapping[str, Any], listener: int, log: int, parent: int) -> None:
    """Turn the fork into what exec would have made: own session, own descriptors, own environment."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    child.set_name(message["arguments"][0] if message["arguments"] else message["module"])
    child.die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    # Out of the way first: the received descriptors may have the numbers that are wanted.
    listener, log = os.dup2(listener, 1001), os.dup2(log, 1000)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(listener, LISTEN_FDS_START)
    os.set_inheritable(LISTEN_FDS_START, True)
    os.closerange(LISTEN_FDS_START + 1, 1024)
    os.chdir(message["folder"])
    os.environ.clear()
    os.environ.update(message["environment"])
    os.environ["LISTEN_FDS"] = "1"
    os.environ["LISTEN_PID"] = str(os.getpid())


def _run(module: str, arguments: Sequence[str]) -> int:
    """Run a module as `python -m` would; answers the exit code."""
    sys.argv = [module, *arguments]
    try:
        if module in _MAINS:
            main_module = ModuleType("__main__")
            main_module.__dict__["__package__"] = module
            sys.modules["__main__"] = main_module
            exec(_MAINS[module], main_module.__dict__)  # noqa: S102 - it is what `python -m` would run.
        else:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    main()
