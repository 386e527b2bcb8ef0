"""`make image`: builds the image with docker, podman or buildah, whichever is here."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from knative.image import indexes
from knative.image.builders import Build, NoBuilder, build_command, build_environment, find

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


def main() -> None:
    """Build it; exits with the builder's own code, or with a sentence where there is no builder."""
    parser = argparse.ArgumentParser(prog="python -m knative.image", description=__doc__)
    parser.add_argument("--tag", default=TAG, help=f"what to call it ({TAG}, as knative/base does)")
    parser.add_argument("--base", default="", help="the root it stands on (what the Containerfile names)")
    options = parser.parse_args()
    try:
        builder = find()
    except NoBuilder as error:
        sys.exit(str(error))
    arguments = {**about(), **({"BASE": options.base} if options.base else {})}
    with tempfile.TemporaryDirectory() as folder:
        build = Build(options.tag, arguments, indexes.secrets(Path(folder)), ROOT)
        print(f"Building {options.tag} with {builder.name} …", flush=True)
        done = subprocess.run(build_command(builder, build), env=build_environment(os.environ), check=False)
    if done.returncode == 0:
        print(f"Built {options.tag}. Push it with `{' '.join(builder.command('push', options.tag))}`.")
    else:
        print(
            "It was not built. Where no registry is reached, name a base that is here: make image BASE=…",
            file=sys.stderr,
        )
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
