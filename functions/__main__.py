"""`python -m functions orders-place` serves one function."""

from __future__ import annotations

import os
import sys

from functions.operations import known, load


def main() -> None:
    """Serve the function whose name is the first argument; exits with 2 when there is none of that name."""
    if len(sys.argv) != 2:
        print(f"say which function to serve; there are {', '.join(known())}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    try:
        app = load(sys.argv[1])
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(2)
    from functions.serve import serve  # noqa: PLC0415 - a wrong name is answered without half a second of imports.

    serve(app, os.environ)


if __name__ == "__main__":
    main()
