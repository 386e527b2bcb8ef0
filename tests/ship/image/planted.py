"""A folder to build from that has, beside the code, every secret that a developer's folder could have."""

from __future__ import annotations

import shutil
from pathlib import Path

# What nothing that was built may have in it.
MARK = "planted-3f9d1c7e5b"
FOLDERS = ("eventing", "function", "functions", "protos")
_FILES = ("Containerfile", ".dockerignore", "requirements-image.txt")
_SECRETS = (
    ".env",
    ".git/config",
    ".venv/bin/nats-server",
    ".wake/secrets.json",
    "private.json",
    "eventing/.env",
    "functions/private.json",
    "functions/users/notes.txt",
    "functions/orders/__pycache__/place.cpython-313.pyc",
    "functions/__pycache__/app.cpython-313.pyc",
)


def context(root: Path, folder: Path) -> Path:
    """A copy of what a build reads, with secrets, below *folder*; nobody but its owner may read any of it."""
    for name in FOLDERS:
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _FILES:
        shutil.copy(root / name, folder / name)
    for name in _SECRETS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{MARK}\n")
    for one in folder.rglob("*"):
        one.chmod(0o700 if one.is_dir() else 0o600)
    return folder


def secrets(real: dict[str, Path]) -> dict[str, Path]:
    """The build's secrets, with a word in them that no layer may keep."""
    file = real["pip.conf"]
    file.write_text(f"# {MARK}\n{file.read_text()}")
    return real
