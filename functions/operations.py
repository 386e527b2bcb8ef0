"""Every operation there is, by its name: `orders-place` is `functions/orders/place.py`. Over HTTP, or over gRPC."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from functions.app import Operation
    from functions.rpc.service import Service

_MAKES_AN_APP = re.compile(r"^app = (operation|service)\(", re.MULTILINE)


def known() -> list[str]:
    """The name of every operation there is: each file of an area that makes an app."""
    root = Path(__file__).parent
    return sorted(
        f"{file.parent.name}-{file.stem.replace('_', '-')}"
        for file in root.glob("*/*.py")
        if _MAKES_AN_APP.search(file.read_text())
    )


def load(name: str) -> Operation | Service:
    """The app of an operation.

    Raises:
        ValueError: there is none of this name; the message lists those there are.
    """
    if name not in known():
        raise ValueError(f"there is no function {name!r}; there are {', '.join(known())}")
    area, _, verb = name.partition("-")
    app: Operation | Service = importlib.import_module(f"functions.{area}.{verb.replace('-', '_')}").app
    return app
