"""`make image`: builds the image with docker, podman or buildah, whichever is here."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from knative.image import indexes
from knative.image.about import ROOT, TAG, about
from knative.image.builders import Build, NoBuilder, build_command, build_environment, find


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
