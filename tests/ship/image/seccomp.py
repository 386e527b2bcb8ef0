"""The system calls that a container may make by default, from the list that container engines install, for a runtime."""

from __future__ import annotations

import json
import platform
from functools import cache
from pathlib import Path
from typing import Any

# Of Debian's golang-github-containers-common, which buildah brings. Its format is the engines', not the runtime's.
_LIST = Path("/usr/share/containers/seccomp.json")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@cache
def profile() -> dict[str, Any] | None:
    """`linux.seccomp` of an OCI specification for a process without capabilities; None where there is no list."""
    return of(json.loads(_LIST.read_text()), _ARCHITECTURES.get(platform.machine(), "")) if _LIST.exists() else None


def of(listed: dict[str, Any], architecture: str) -> dict[str, Any]:
    """What of an engine's list holds on this architecture, for a process without any capability."""
    names = [
        name
        for one in listed["archMap"]
        if _GO[architecture] == one["architecture"]
        for name in (one["architecture"], *(one.get("subArchitectures") or ()))
    ]
    rules = [one for one in listed["syscalls"] if _holds(one, architecture)]
    kept = ("names", "action", "args", "errnoRet")
    return {
        "defaultAction": listed["defaultAction"],
        "defaultErrnoRet": listed.get("defaultErrnoRet", 1),
        "architectures": names,
        "syscalls": [{name: one[name] for name in kept if one.get(name) not in (None, [], "")} for one in rules],
    }


_GO = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}


def _holds(rule: dict[str, Any], architecture: str) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    return (
        not includes.get("caps")
        and architecture in (includes.get("arches") or [architecture])
        and architecture not in (excludes.get("arches") or ())
    )
