"""`python -m functions orders-place` serves one function."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path


def known() -> list[str]:
    """The name of every operation there is: each file of an area that makes an app."""
    root = Path(__file__).parent
    return sorted(
        f"{file.parent.name}-{file.stem.replace('_', '-')}"
        for file in root.glob("*/*.py")
        if "\napp = operation(" in file.read_text()
    )


def main() -> None:
    """Serve the function whose name is the first argument; exits with 2 when there is none of that name."""
    if len(sys.argv) != 2 or sys.argv[1] not in known():
        asked = f"there is no function {sys.argv[1]!r}" if len(sys.argv) == 2 else "say which function to serve"
        print(f"{asked}; there are {', '.join(known())}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    area, _, verb = sys.argv[1].partition("-")
    app = importlib.import_module(f"functions.{area}.{verb.replace('-', '_')}").app
    from functions.serve import serve  # noqa: PLC0415 - a wrong name is answered without half a second of imports.

    serve(app, os.environ)


if __name__ == "__main__":
    main()
