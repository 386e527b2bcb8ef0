"""Server reflection (grpc.reflection.v1 and v1alpha), for grpcurl and its like: what can be called here, and how.

Open to all, so it is a setting: GRPC_REFLECTION, which only the local overlay turns on.
"""

from __future__ import annotations

from collections.abc import Mapping

from grpclib.const import Handler


def methods(served: Mapping[str, Handler]) -> dict[str, Handler]:
    """The methods of reflection."""
    return {}
