"""The Broker's journal: one JSON line for each thing that happened to an event, never its data.

Lines of one turn of the event loop are written at its end, in the order of what happened: a call of the system for each
would cost as much as a delivery does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from eventing.event import Event

_log = logging.getLogger(__name__)
_BYTES_MAX = 16 * 1024 * 1024


class Journal:
    """Appends to a file; a long one is set aside as FILE.1. Without a file it keeps nothing, on a full disk neither."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._stream: TextIO | None = None
        self._lines: list[str] = []
        self._failed = False
        #: How often something happened since the process began: by kind, Broker, and Trigger ("" for none).
        self.happened: Counter[tuple[str, str, str]] = Counter()

    def write(self, kind: str, broker: str, event: Event, **fields: Any) -> None:
        """Note that something happened to an event, with what a reader wants to know of it; for the loop's thread."""
        self.happened[kind, broker, fields.get("trigger", "")] += 1
        if self._file is None:
            return
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "kind": kind,
            "broker": broker,
            "id": event.id,
            "source": event.source,
            "type": event.type,
            "subject": event.subject,
            **fields,
        }
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        self._lines.append(json.dumps({name: value for name, value in line.items() if value is not None}) + "\n")

    def _flush(self) -> None:
        if self._file is None or not self._lines:
            return
        text = "".join(self._lines)
        self._lines.clear()
        try:
            self._append(self._file, text)
        except OSError as error:
            # What becomes of an event must not hang on whether there is room to write of it.
            if not self._failed:
                _log.warning("journal_not_written, until it can be again: %s", error)
            self._failed = True
            self._close_file()

    def _append(self, file: Path, text: str) -> None:
        if self._stream is None:
            self._stream = file.open("a")
        self._stream.write(text)
        self._stream.flush()
        self._failed = False
        if self._stream.tell() > _BYTES_MAX:
            self._close_file()
            file.replace(file.with_name(file.name + ".1"))

    def close(self) -> None:
        """Write what is left, close the file."""
        self._flush()
        self._close_file()

    def _close_file(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            with contextlib.suppress(OSError):
                stream.close()
