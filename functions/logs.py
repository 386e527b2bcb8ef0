"""Logs: one JSON line an event, with fields named like code; no bodies, no tokens, no addresses."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from functools import lru_cache

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time, level, function, what happened, and whatever `extra` carries."""

    def __init__(self, function: str) -> None:
        super().__init__()
        self._function = function
        self._encode = json.JSONEncoder(default=str).encode

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "time": f"{_second(int(record.created))}.{int(record.created % 1 * 1000):03d}Z",
            "level": record.levelname.lower(),
            "function": self._function,
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return self._encode(line)


@lru_cache(maxsize=2)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().removesuffix("+00:00")


def _of_start(record: logging.LogRecord) -> bool:
    """Say why a function did not start, where uvicorn says that it did not: the last line is what people are shown."""
    message = record.getMessage()
    if message.startswith("Traceback"):
        lines = message.strip().splitlines()
        record.msg, record.args = "start_failed", ()
        record.reason, record.exception = lines[-1], message
    return not message.startswith("Application startup failed")


def configure(function: str, level: str) -> None:
    """Write every log of this process to standard output, as JSON."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(function))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Nobody reads where a line was written from, nor by which thread; finding out takes a third of writing it
    # (Python's logging HOWTO, "Optimization").
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # What these say at each request and start, our own lines say better.
    for noisy in ("httpx", "httpcore", "mangum", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_of_start)
