"""A record of what an installation answered: a JSON file, which `--against` reads and `--record` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from knative.runtime.parity.normal import Told

# What a laptop answered.
LAPTOPS = Path(__file__).parent / "expected.json"
_VERSION = 1


class NotARecord(Exception):
    """The file cannot be read or written as a record; the message says why."""


def read(file: Path) -> dict[str, list[Told]]:
    """The answers, by scenario.

    Raises:
        NotARecord: it is none.
    """
    try:
        whole = json.loads(file.read_text())
        if whole["version"] != _VERSION:
            raise NotARecord(f"{file} is of version {whole['version']}, this is {_VERSION}: record it again")
        return {name: [Told(**one) for one in told] for name, told in whole["scenarios"].items()}
    except OSError as error:
        raise NotARecord(f"{file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotARecord(f"{file} is no record of answers: `wake parity URL --record {file}` writes one") from error


def write(file: Path, told: Mapping[str, Sequence[Told]]) -> None:
    """The other way round.

    Raises:
        NotARecord: the file cannot be written.
    """
    whole: dict[str, Any] = {
        "version": _VERSION,
        "scenarios": {name: [asdict(one) for one in answers] for name, answers in told.items()},
    }
    try:
        # Half of a surrogate pair is no UTF-8; its escape is JSON as well.
        file.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", errors="backslashreplace")
    except OSError as error:
        raise NotARecord(f"{file}: {error.strerror}") from error
