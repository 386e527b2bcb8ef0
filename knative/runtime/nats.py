"""The embedded nats-server with JetStream: the channel underneath the local Broker."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from knative.runtime import child, programs


@dataclass(frozen=True)
class Nats:
    """A running nats-server; `url` carries its token."""

    process: subprocess.Popen[bytes]
    port: int
    token: str
    log: Path

    @property
    def url(self) -> str:
        """The client URL, with the token that keeps other users of the machine out."""
        return f"nats://{self.token}@127.0.0.1:{self.port}"

    def wait_until_ready(self) -> None:
        """Wait until it takes connections.

        Raises:
            StartFailed: it ended instead, or took longer than half a minute.
        """
        child.wait_until(lambda: child.accepts("127.0.0.1", self.port), self.process, self.log, seconds=30)

    def stop(self) -> None:
        """Stop; what was acknowledged is on disk already."""
        child.stop(self.process, number=signal.SIGINT)


def start(folder: Path, port: int, log: Path, sync_interval: str = "always") -> Nats:
    """Start nats-server on a port of loopback with its streams in *folder*.

    `sync_interval: always` makes it call fsync before it acknowledges. With its default of two minutes a power cut
    loses what was acknowledged, up to whole streams (docs.nats.io, JetStream, "sync_interval").

    Raises:
        StartFailed: it is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    token_file = folder / "token"
    if not token_file.exists():
        token_file.touch(mode=0o600)
        token_file.write_text(secrets.token_urlsafe(24))
    token = token_file.read_text()
    settings = {
        "listen": f"127.0.0.1:{port}",
        "max_payload": 8 * 1024 * 1024,
        "authorization": {"token": token},
        "jetstream": {"store_dir": str(folder / "store"), "sync_interval": sync_interval},
    }
    configuration = folder / "nats-server.json"
    configuration.touch(mode=0o600)
    configuration.write_text(json.dumps(settings))
    process = child.start([programs.find("nats-server"), "--config", str(configuration)], log=log)
    return Nats(process=process, port=port, token=token, log=log)
