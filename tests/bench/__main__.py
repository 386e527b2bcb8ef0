"""`make bench`: Wake beside its peers in the same run; the ratios hold on other machines, the milliseconds do not."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.bench import cache, cold_start, events, grpc, lambda_, memory, order, steady
from tests.flows.conftest import Installation


def main() -> None:
    """Run every benchmark on one installation of its own."""
    with tempfile.TemporaryDirectory(prefix="wake-bench-") as folder:
        installation = Installation(Path(folder))
        installation.up()
        try:
            for benchmark in (memory, cold_start, lambda_, order, cache, grpc, events, steady):
                benchmark.run(installation)
        finally:
            installation.stop()


if __name__ == "__main__":
    main()
