"""The local Broker as a child process: `python -m eventing.broker` over the server that keeps its events."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from knative.runtime import child
from knative.runtime.state import State


@dataclass(frozen=True)
class Broker:
    """A running Broker: ingress for every Broker of the YAML, dispatcher for every Trigger."""

    process: subprocess.Popen[bytes]
    host: str
    port: int
    log: Path
    manifest: Path

    def reread(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Serve these Brokers and Triggers from now on; those that did not change go on as they are."""
        State.write(self.manifest, yaml.safe_dump_all(documents, sort_keys=False))
        self.process.send_signal(signal.SIGHUP)

    def wait_until_ready(self) -> None:
        """Wait until its ingress takes connections.

        Raises:
            StartFailed: it ended instead, or took longer than half a minute.
        """
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host  # noqa: S104 - compared, not bound.
        child.wait_until(lambda: child.accepts(host, self.port), self.process, self.log, seconds=30)

    def stop(self) -> None:
        """Let it finish the deliveries it has in hand; what it has not is in the channel."""
        child.stop(self.process, patience_seconds=2.5)


def start(
    documents: Sequence[Mapping[str, Any]],
    *,
    folder: Path,
    channel: str,
    host: str,
    port: int,
    journal: Path,
    log: Path,
    environment: Mapping[str, str],
) -> Broker:
    """Start the Broker with Brokers and Triggers whose references were resolved to URLs.

    Raises:
        StartFailed: Python could not be started.
    """
    manifest = folder / "broker.yaml"
    manifest.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    process = child.start(
        [
            sys.executable,
            "-m",
            "eventing.broker",
            f"--manifest={manifest}",
            f"--host={host}",
            f"--port={port}",
            f"--journal={journal}",
        ],
        log=log,
        # The channel's URL carries its token, which a command line would show to every user of the machine.
        environment={**environment, "CHANNEL_URL": channel},
    )
    return Broker(process, host, port, log, manifest)
