"""`python -m tests.checks.protos [--write]`: the stubs are those of the .proto files, which keep what was promised.

`buf lint` holds them to buf's standard, every part with its comment; `buf breaking` against the contract as it was
released last (`protos/released.binpb`), which `--release` writes anew. All of it works offline.
"""

from __future__ import annotations

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
# Somebody else's: copies of what the wheel googleapis-common-protos has, so that any protoc and buf finds them.
GOOGLE = ("google/rpc/status.proto", "google/rpc/error_details.proto")
RELEASED = "protos/released.binpb"


def generate(folder: Path) -> list[Path]:
    """Generate every stub below *folder*; answers their paths, relative to it."""
    files = sorted(str(one.relative_to(ROOT)) for one in (ROOT / "protos").glob("*/v*/*.proto"))
    outputs = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpclib_python")]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", "-I", "protos", *outputs, *files],
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


def copied() -> Iterator[str]:
    """The copies of somebody else's .proto files that are not what their wheel has."""
    for name in GOOGLE:
        theirs = metadata.distribution("googleapis-common-protos").locate_file(name)
        if (ROOT / "protos" / name).read_text() != Path(str(theirs)).read_text():
            yield f"protos/{name} is not that of googleapis-common-protos: copy it from there"


def buf(*arguments: str, root: Path = ROOT) -> Iterator[str]:
    """What buf finds, a line each."""
    command = [str(Path(sys.executable).parent / "buf"), *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    yield from (done.stdout + done.stderr).splitlines()
    if done.returncode and not done.stdout + done.stderr:
        yield f"buf {' '.join(arguments)} ended with {done.returncode}"


def broken(root: Path = ROOT) -> Iterator[str]:
    """What somebody who has the contract that was released last could not read or call any more."""
    with tempfile.TemporaryDirectory() as place:
        # A workspace of two modules can be compared with an image only once it is one.
        now = f"{place}/now.binpb"
        yield from buf("build", "--output", now, root=root)
        yield from buf("breaking", now, "--against", RELEASED, "--config", "buf.yaml", root=root)


def problems(*, write: bool) -> Iterator[str]:
    """All that is not as it should be."""
    yield from stubs(write=write)
    yield from copied()
    yield from buf("lint")
    yield from broken()


def main() -> None:
    """Write, or compare; exits with 1 where anything is not as it should be."""
    if "--release" in sys.argv:
        sys.exit("\n".join(buf("build", "--exclude-source-info", "--output", RELEASED)) or None)
    found = list(problems(write="--write" in sys.argv))
    if found:
        sys.exit("\n".join(found))
    print("The generated stubs are those of the .proto files, and these keep what was released.")


if __name__ == "__main__":
    main()
