"""`python -m tests.checks.protos [--write]`: the generated stubs are those of the .proto files beside them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_grpc.py")


def generate(folder: Path) -> list[Path]:
    """Generate every stub below *folder*; answers their paths, relative to it."""
    files = sorted(str(one.relative_to(ROOT)) for one in (ROOT / "protos").rglob("*.proto"))
    outputs = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpclib_python")]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", *outputs, *files],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        check=True,
    )
    return sorted(one.relative_to(folder) for pattern in PATTERNS for one in folder.rglob(pattern))


def main() -> None:
    """Write, or compare; exits with 1 where they differ."""
    with tempfile.TemporaryDirectory() as place:
        made = generate(Path(place))
        if "--write" in sys.argv:
            for one in made:
                shutil.copy(Path(place) / one, ROOT / one)
        differs = [
            one
            for one in made
            if not (ROOT / one).exists() or (ROOT / one).read_text() != (Path(place) / one).read_text()
        ]
    if differs:
        sys.exit(f"{', '.join(map(str, differs))} is not what its .proto says: make protos")
    print("The generated stubs are those of the .proto files.")


if __name__ == "__main__":
    main()
