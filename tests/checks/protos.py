"""`python -m tests.checks.protos [--write]`: the stubs are those of the .proto files, which keep what was promised.

`buf lint` holds them to buf's standard, every part with its comment; `buf breaking` against the contract as it was
released last (`protos/released.binpb`), which `--release` writes anew. All of it works offline.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_grpc.py")
# What is refused, and the details of that.
GOOGLE = ("google/rpc/status.proto", "google/rpc/error_details.proto")
RELEASED = "protos/released.binpb"


def sources(root: Path) -> list[Path]:
    """Our .proto files."""
    return sorted((root / "protos").glob("*/v*/*.proto"))


def _wheel() -> metadata.Distribution:
    return metadata.distribution("googleapis-common-protos")


def generate(folder: Path) -> list[Path]:
    """Generate every stub below *folder*; answers their paths, relative to it."""
    files = [str(one.relative_to(ROOT)) for one in sources(ROOT)]
    outputs = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpclib_python")]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", "-I", str(_wheel().locate_file("")), *outputs, *files],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        check=True,
    )
    return sorted(one.relative_to(folder) for pattern in PATTERNS for one in folder.rglob(pattern))


def stubs(*, write: bool) -> Iterator[str]:
    """The stubs that are not what their .proto says; none after they were written."""
    with tempfile.TemporaryDirectory() as place:
        for one in generate(Path(place)):
            if write:
                shutil.copy(Path(place) / one, ROOT / one)
            if not (ROOT / one).exists() or (ROOT / one).read_text() != (Path(place) / one).read_text():
                yield f"{one} is not what its .proto says: make protos"


@contextlib.contextmanager
def workspace(root: Path = ROOT) -> Iterator[Path]:
    """A folder with our .proto files, and beside them those of google.rpc that they import, as their wheel has them."""
    with tempfile.TemporaryDirectory() as place:
        for one in [root / "buf.yaml", *sources(root)]:
            _copy(one, Path(place) / one.relative_to(root))
        for name in GOOGLE:
            _copy(Path(str(_wheel().locate_file(name))), Path(place) / name)
        yield Path(place)


def _copy(file: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, to)


def buf(*arguments: str, folder: Path) -> Iterator[str]:
    """What buf finds, a line each."""
    command = [str(Path(sys.executable).parent / "buf"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    yield from (done.stdout + done.stderr).splitlines()
    if done.returncode and not done.stdout + done.stderr:
        yield f"buf {' '.join(arguments)} ended with {done.returncode}"


def unruly(root: Path = ROOT) -> Iterator[str]:
    """What is not as buf's standard has it."""
    with workspace(root) as folder:
        yield from buf("lint", folder=folder)


def broken(root: Path = ROOT) -> Iterator[str]:
    """What somebody who has the contract that was released last could not read or call any more."""
    with workspace(root) as folder:
        yield from buf("breaking", "--against", str(ROOT / RELEASED), folder=folder)


def released() -> Iterator[str]:
    """Write the contract as it is released now; says what kept it from being written."""
    with workspace() as folder:
        yield from buf("build", "--exclude-source-info", "--output", str(ROOT / RELEASED), folder=folder)


def problems(*, write: bool) -> Iterator[str]:
    """All that is not as it should be."""
    yield from stubs(write=write)
    yield from unruly()
    yield from broken()


def main() -> None:
    """Write, or compare; exits with 1 where anything is not as it should be."""
    if "--release" in sys.argv:
        sys.exit("\n".join(released()) or None)
    found = list(problems(write="--write" in sys.argv))
    if found:
        sys.exit("\n".join(found))
    print("The generated stubs are those of the .proto files, and these keep what was released.")


if __name__ == "__main__":
    main()
