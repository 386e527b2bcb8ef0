"""What `make image-check` calls wrong, and what it needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.ship.image import looks, seccomp
from tests.ship.image.__main__ import lacking
from tests.ship.image.planted import MARK

USER = (65532, 65532)
GOOD: dict[str, Any] = {
    "config": {
        "User": "65532:65532",
        "Entrypoint": ["python", "-m", "functions"],
        "StopSignal": "SIGTERM",
        "Labels": {f"org.opencontainers.image.{name}": "x" for name in looks.LABELS},
    }
}


def said(file: Path, root: Path) -> list[str]:
    """What is wrong with a file."""
    return list(looks.of_file(file.relative_to(root), file.lstat(), USER))


def test_a_good_configuration_is_well() -> None:
    """Nothing is said of it."""
    assert list(looks.of_configuration(GOOD)) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"User": "root"}, "the user is root, not a number other than 0"),
        ({"User": ""}, "the user is not said, not a number other than 0"),
        ({"StopSignal": None}, "the stop signal is None"),
        ({"Cmd": ["sh"]}, "the entry point is ['python', '-m', 'functions'] ['sh']"),
        ({"Env": [f"TOKEN={MARK}"]}, "its configuration or history has a secret"),
    ],
)
def test_each_fault_of_a_configuration_has_its_sentence(change: dict[str, Any], sentence: str) -> None:
    """One fault, one sentence."""
    assert list(looks.of_configuration({"config": {**GOOD["config"], **change}})) == [sentence]


def test_each_fault_of_a_file_has_its_sentence(tmp_path: Path) -> None:
    """Borrowed rights, everybody's folders, code that cannot be read, a server."""
    (tmp_path / "app").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    setuid, spool = tmp_path / "su", tmp_path / "spool"
    hidden, server = tmp_path / "app/hidden.py", tmp_path / "app/nats-server"
    for file, mode in ((setuid, 0o4755), (hidden, 0o600), (server, 0o755)):
        file.touch()
        file.chmod(mode)
    spool.mkdir()
    spool.chmod(0o777)

    assert said(tmp_path / "tmp", tmp_path) == []
    assert said(setuid, tmp_path) == ["/su lends its owner's rights"]
    assert said(spool, tmp_path) == ["/spool may be written by everybody"]
    assert said(hidden, tmp_path) == ["/app/hidden.py cannot be read by the user that runs"]
    assert said(server, tmp_path) == ["/app/nats-server is in the image"]


def test_who_is_not_root_reads_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is begun."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert lacking("") == "This check mounts a root and runs it as another user, so it has to be run as root on Linux."


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With what to type."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert lacking("mine") == "Not installed: buildah, util-linux (on Debian: apt-get install buildah util-linux)."
    assert lacking("") == (
        "Not installed: buildah, util-linux, mmdebstrap (on Debian: apt-get install buildah util-linux mmdebstrap)."
    )


def test_an_engines_list_of_system_calls_is_read_for_no_capability() -> None:
    """A rule for another architecture, or for who may administer, does not hold."""
    listed = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [], "includes": {}, "excludes": {}},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_CHROOT"]}},
            {"names": ["arm_sync"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm", "arm64"]}},
        ],
    }
    made = seccomp.of(listed, "amd64")

    assert made["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert made["syscalls"] == [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
    ]
