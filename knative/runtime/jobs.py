"""Runs the manifests' Jobs (migrations) to their end before anything is served."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from knative.runtime import child, environment, supervisor
from knative.runtime.resources import Container, Job
from knative.runtime.state import State

_SOURCES = ("*.sql", "*.py")
_IGNORED = {".venv", ".wake", ".git", "__pycache__", "tests", "docs"}


class JobFailed(Exception):
    """A Job's container ended with an error; the message has its last words."""


def tree_digest(folder: Path) -> str:
    """Changes whenever a source file below *folder* does: on a cluster that would be a new image."""
    digest = hashlib.sha256()
    for top in sorted(one for one in folder.iterdir() if one.is_dir() and one.name not in _IGNORED):
        for pattern in _SOURCES:
            for file in sorted(top.rglob(pattern)):
                status = file.stat()
                digest.update(f"{file}\0{status.st_mtime_ns}\0{status.st_size}\0".encode())
    return digest.hexdigest()


async def run_all(jobs: Iterable[Job], folder: Path, values: environment.Values, state: State) -> list[str]:
    """Run side by side every Job that has not completed with this template and these files; answers their names.

    Raises:
        JobFailed: the first that failed, after its retries (`backoffLimit`).
    """
    kept = state.folder / "jobs.json"
    completed: dict[str, str] = json.loads(kept.read_text()) if kept.exists() else {}
    tree = tree_digest(folder)
    due = {job.name: job for job in jobs if completed.get(job.name) != f"{job.template_key} {tree}"}
    await asyncio.gather(*(_run(job, folder, values, state.log(job.name)) for job in due.values()))
    completed |= {name: f"{job.template_key} {tree}" for name, job in due.items()}
    State.write(kept, json.dumps(completed, indent=1))
    return list(due)


async def _run(job: Job, folder: Path, values: environment.Values, log: Path) -> None:
    for attempt in range(job.backoff_limit + 1):
        failed = None
        for container in (*job.init_containers, *job.containers):
            code = await _run_container(container, job.namespace, folder, values, log)
            if code != 0:
                failed = f"Job {job.name}, container {container.name}: exit {code}: {child.last_line(log)} (see {log})"
                break
        if failed is None:
            return
        if attempt == job.backoff_limit:
            raise JobFailed(failed)
        await asyncio.sleep(min(2.0, 0.2 * 2**attempt))


async def _run_container(
    container: Container, namespace: str, folder: Path, values: environment.Values, log: Path
) -> int:
    variables = {**environment.of_machine(), **environment.of_container(container, namespace, values)}
    process = child.start(
        _resolved([*container.command, *container.args], variables),
        log=log,
        environment=variables,
        folder=folder / (container.working_directory or "."),
    )
    return await supervisor.ended(process)


def _resolved(command: list[str], variables: Mapping[str, str]) -> list[str]:
    """The program by its path: our own environment's scripts come first, so that `python` is this Python."""
    import sysconfig  # noqa: PLC0415 - beside its one use.

    scripts = sysconfig.get_path("scripts")
    found = shutil.which(command[0], path=f"{scripts}:{variables.get('PATH', '')}")
    return [found or command[0], *command[1:]]
