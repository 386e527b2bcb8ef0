"""What the image is called, and of which version and commit it says that it is."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# The name that knative/base gives it.
TAG = "dev.local/wake:latest"


def about(root: Path = ROOT) -> dict[str, str]:
    """The build arguments that its labels are made of; from git, where this is a clone."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    arguments = {"VERSION": str(project["version"])}
    revision, created = _git(root, "rev-parse", "HEAD"), _git(root, "log", "-1", "--format=%cI")
    if revision and created:
        changed = "-changed" if _git(root, "status", "--porcelain") else ""
        arguments |= {"REVISION": revision + changed, "CREATED": created}
    return arguments


def _git(root: Path, *words: str) -> str:
    """What git says, or nothing where it cannot be asked."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
