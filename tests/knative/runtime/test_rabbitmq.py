"""A rabbitmq-server of our own, and who on the machine may use it."""

from __future__ import annotations

import stat
from pathlib import Path

from knative.runtime import child
from tests.conftest import rabbitmq_of


def test_what_lets_somebody_in_is_ours_to_read_only(tmp_path: Path) -> None:
    """The password and Erlang's cookie, with which anything can be run on the node, are made by chance, and stay."""
    folder = tmp_path / "rabbitmq"
    server = rabbitmq_of(folder, child.free_port(), tmp_path / "log")
    try:
        server.wait_until_ready()
        cookie = (folder / ".erlang.cookie").read_text()

        assert len(cookie) == len(server.password) == 32
        assert cookie != server.password
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for name in ("password", ".erlang.cookie", "rabbitmq.conf"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    finally:
        server.stop()
