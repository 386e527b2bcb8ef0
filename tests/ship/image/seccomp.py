"""The system calls that a container may make by default: the list that container engines install, for a runtime."""

from __future__ import annotations

import json
import platform
from functools import cache
from pathlib import Path
from typing import Any

# Of Debian's golang-github-containers-common, which buildah brings. Its format is the engines', not the runtime's.
_LIST = Path("/usr/share/containers/seccomp.json")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_SECCOMP_NAMES = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}


@cache
def profile() -> dict[str, Any] | None:
    """`linux.seccomp` of an OCI specification for a process without capabilities; None where there is no list."""
    return of(json.loads(_LIST.read_text()), _ARCHITECTURES.get(platform.machine(), "")) if _LIST.exists() else None


def of(listed: dict[str, Any], architecture: str) -> dict[str, Any]:
    """What of an engine's list holds on this architecture, for a process without any capability."""
    natives = [one for one in listed["archMap"] if one["architecture"] == _SECCOMP_NAMES[architecture]]
    rules = [one for one in listed["syscalls"] if _holds(one, architecture)]
    kept = ("names", "action", "args", "errnoRet")
    return {
        "defaultAction": listed["defaultAction"],
        "defaultErrnoRet": listed.get("defaultErrnoRet", 1),
        "architectures": [name for one in natives for name in (one["architecture"], *(one["subArchitectures"] or ()))],
        "syscalls": [{name: one[name] for name in kept if one.get(name) not in (None, [], "")} for one in rules],
    }


def _holds(rule: dict[str, Any], architecture: str) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    needs_capability = bool(includes.get("caps"))
    excluded = architecture in (excludes.get("arches") or ())
    return not needs_capability and not excluded and architecture in (includes.get("arches") or [architecture])
