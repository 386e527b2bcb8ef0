"""What a process shows to Prometheus at GET /metrics: its text format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Sample: TypeAlias = "tuple[Mapping[str, str], float]"


def family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    """The lines of one metric: *kind* is `counter` or `gauge`, *text* says what a value counts."""
    yield from head(name, kind, text)
    for labels, value in samples:
        pairs = ",".join(f'{label}="{said.translate(_ESCAPES)}"' for label, said in labels.items())
        yield f"{name}{{{pairs}}} {value:.15g}"


def head(name: str, kind: str, text: str) -> tuple[str, str]:
    """The two lines that come before a metric's samples."""
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"
