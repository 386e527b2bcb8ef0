"""Reads files that others are appending to."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Generator
from pathlib import Path

_POLL_SECONDS = 0.1


def last_lines(file: Path, count: int) -> list[str]:
    """The last lines of a file, without their ends."""
    with file.open(errors="replace") as stream:
        return [line.rstrip("\n") for line in deque(stream, maxlen=count)]


def follow(file: Path) -> Generator[str, None, None]:
    """Whole lines as they are appended from now on; goes over to the new file when the old one is set aside."""
    stream = file.open(errors="replace")
    try:
        stream.seek(0, os.SEEK_END)
        part = ""
        while True:
            part += stream.readline()
            if part.endswith("\n"):
                yield part.rstrip("\n")
                part = ""
                continue
            time.sleep(_POLL_SECONDS)
            if file.exists() and file.stat().st_ino != os.fstat(stream.fileno()).st_ino:
                stream.close()
                stream = file.open(errors="replace")
    finally:
        stream.close()
