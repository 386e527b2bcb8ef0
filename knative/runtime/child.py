"""Child processes that cannot outlive us.

Each child leads a session of its own, so that a ctrl-C in the terminal reaches only the runtime, which then stops its
children in order. On Linux the kernel kills a child whose parent dies (PR_SET_PDEATHSIG), so a kill -9 of the runtime
leaves nothing behind; elsewhere the next start finds the leftovers by their pid files.

PR_SET_PDEATHSIG follows the *thread* that forked: start children from the main thread only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
CLONE_NEWUSER = 0x10000000
# The uid a process started with `without_root` sees as its own. PostgreSQL only asks that it is not 0.
UNPRIVILEGED_UID = 1000
_PORTS = range(20_000, 32_000)


class StartFailed(Exception):
    """A program could not be started, or ended before it was ready."""


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask Linux to send this process a signal when its parent dies; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def set_name(name: str) -> None:
    """Have `ps -o comm` and `top` call this process by a name of its own (Linux, 15 characters); elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def enter_user_namespace() -> None:
    """Run as an ordinary user in the eyes of the program, while files stay our own.

    A program that refuses to run as root (PostgreSQL does) is content, and nothing on disk has to be given to another
    user or made readable for one.

    Raises:
        OSError: the machine allows no user namespaces.
    """
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{UNPRIVILEGED_UID} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{UNPRIVILEGED_UID} {gid} 1")


def start(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    without_root: bool = False,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program whose output goes to the end of *log*.

    Raises:
        StartFailed: there is no such program, or it may not be run.
    """

    def prepare() -> None:
        if without_root:
            enter_user_namespace()
        # Last, because entering a user namespace clears it.
        die_with_parent()

    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=None if environment is None else dict(environment),
                start_new_session=True,
                pass_fds=pass_fds,
                # What runs between fork and exec takes no lock that a thread of ours could hold.
                preexec_fn=prepare,  # noqa: PLW1509 - there is no other way to set what prepare() sets.
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise StartFailed(f"{command[0]} could not be started: {error}") from error


def stop(process: subprocess.Popen[bytes], *, number: int = signal.SIGTERM, patience_seconds: float = 3.0) -> None:
    """Ask a child to stop, and kill it when it does not within its patience."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, *, seconds: float) -> None:
    """Wait until *ready* answers true.

    Raises:
        StartFailed: the process ended first, or the time is over; with the last line of its log.
    """
    deadline = time.monotonic() + seconds
    name = _name(process.args)
    while not ready():
        if process.poll() is not None:
            raise StartFailed(
                f"{name} ended at once (exit {process.returncode}): {last_line(log)}; all of it is in {log}"
            )
        if time.monotonic() > deadline:
            raise StartFailed(f"{name} was not ready within {seconds:.0f} s: {last_line(log)}; all of it is in {log}")
        time.sleep(0.005)


def _name(arguments: object) -> str:
    """What people call a program: its file, or the module that Python runs."""
    words = [str(one) for one in arguments] if isinstance(arguments, list | tuple) else [str(arguments)]
    return words[2] if words[1:2] == ["-m"] else Path(words[0]).name


def last_line(log: Path) -> str:
    """The last line of a log that says something, or a word that there is none."""
    with contextlib.suppress(OSError), log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 4096))
        lines = [line for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
        if lines:
            return lines[-1].strip()
    return "it said nothing"


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that was free a moment ago.

    Below those that Linux gives to outgoing connections (ip_local_port_range), one of which would take it meanwhile.
    """
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    with socket.socket() as probe:
        probe.bind((host, 0))
        chosen: int = probe.getsockname()[1]
        return chosen


def accepts(host: str, port: int) -> bool:
    """Whether something accepts TCP connections there."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0
