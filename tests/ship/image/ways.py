"""Chooses how to run an image's root: as containers where they can run, else in a chroot."""

from __future__ import annotations

import shutil
from pathlib import Path

from knative.runtime import child
from tests.ship.image.chroot import Chroot
from tests.ship.image.containers import Containers
from tests.ship.image.running import Way
from tests.ship.image.store import Image

_RUNTIMES = ("runc", "crun")
_PATIENCE_SECONDS = 30.0


def choose(image: Image, folder: Path, wanted: str) -> Way:
    """What works here; *wanted* is `containers`, `chroot` or empty.

    Raises:
        StartFailed: containers are wanted, and none can run.
    """
    said = ["neither runc nor crun is installed"]
    for runtime in filter(shutil.which, () if wanted == "chroot" else _RUNTIMES):
        trial = _trial(image, folder / f"trial-{runtime}", runtime)
        if trial is None:
            return Containers(image, folder, runtime)
        said = [*said[1:], f"{runtime}: {trial}"]
    if wanted == "containers":
        raise child.StartFailed(f"no container can run here ({'; '.join(said)})")
    return Chroot(image, folder)


def _trial(image: Image, folder: Path, runtime: str) -> str | None:
    """Why this runtime cannot run a program of the image; None where it can."""
    folder.mkdir()
    way = Containers(image, folder, runtime)
    try:
        running = way.start("trial", ["python", "-c", ""], {})
        return None if running.ended(_PATIENCE_SECONDS) == 0 else child.last_line(running.log)
    except child.StartFailed as error:
        return str(error)
    finally:
        way.close()
