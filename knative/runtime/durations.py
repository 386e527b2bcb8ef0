"""Go's durations, as Knative's annotations and ConfigMaps have them: "10s", "1m30s", "0"."""

from __future__ import annotations

import re

_PART = re.compile(r"(?P<count>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """How long it is.

    Raises:
        ValueError: it is no duration.
    """
    if text == "0":
        return 0.0
    parts = list(_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise ValueError(f"{text!r} is no duration such as 10s or 1m30s")
    return sum(float(part["count"]) * _UNIT_SECONDS[part["unit"]] for part in parts)
