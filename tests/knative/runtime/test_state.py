"""The state folder: one runtime at a time, and what a killed one leaves."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from knative.runtime.state import AlreadyRunning, State, process_started


def status(pid: int, **parts: int) -> dict[str, object]:
    """A status as a running runtime writes it."""
    return {"pid": pid, "started": process_started(pid), "url": "http://localhost:8080", "parts": parts}


@contextlib.contextmanager
def opened(folder: Path, *, clean: bool = True) -> Iterator[tuple[State, bool]]:
    """A runtime's hold on the folder, and whether it found an unclean end; given up as a kill would, or cleanly."""
    state = State(folder)
    crashed = state.open()
    try:
        yield state, crashed
    finally:
        if clean:
            state.close()
        elif state._lock is not None:
            state._lock.close()


def test_a_second_runtime_is_told_which_one_runs(tmp_path: Path) -> None:
    """The lock is the state folder's, and the message says what to do."""
    with opened(tmp_path) as (first, _):
        first.write_status(status(os.getpid()))
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}, http://localhost:8080.*wake down"):
            State(tmp_path).open()


def test_after_a_clean_stop_nothing_is_to_recover(tmp_path: Path) -> None:
    """open() answers whether the last one ended without stopping."""
    with opened(tmp_path) as (state, crashed):
        state.write_status(status(os.getpid()))
        assert crashed is False
    with opened(tmp_path) as (_, crashed):
        assert crashed is False


def test_what_a_killed_runtime_left_is_ended(tmp_path: Path) -> None:
    """A part that survived its runtime (not on Linux, where it dies with it) is killed at the next start."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as part:
        with opened(tmp_path, clean=False) as (state, _):
            state.write_status(status(999_999_999, envoy=part.pid))
        with opened(tmp_path) as (_, crashed):
            assert crashed is True
        assert part.wait(5) == -signal.SIGKILL


def test_a_stranger_with_a_part_s_old_number_is_left_alone(tmp_path: Path) -> None:
    """A process that does not lead a session of its own was not started by a runtime."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        with opened(tmp_path, clean=False) as (state, _):
            state.write_status(status(999_999_999, envoy=stranger.pid))
        with opened(tmp_path):
            assert stranger.poll() is None
        stranger.kill()


def test_the_status_of_a_dead_process_is_none(tmp_path: Path) -> None:
    """A status file alone does not mean that something runs."""
    with opened(tmp_path) as (state, _):
        state.write_status(status(999_999_999))

        assert state.status() is None


def test_a_socket_s_path_is_short_enough_anywhere(tmp_path: Path) -> None:
    """In a deep folder the socket goes to a temporary one, which is not left behind."""
    state = State(tmp_path / ("d" * 90))

    path = state.socket("envoy.sock")
    there = path.parent.is_dir()
    state.close()

    assert len(str(path)) <= 103
    assert (there, path.parent.exists()) == (True, False)


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """The state holds passwords and keys."""
    State.write(tmp_path / "secrets.json", "{}")

    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0
