"""Server reflection (grpc.reflection.v1 and v1alpha), for grpcurl and its like: what can be called here, and how.

Open to all, so it is a setting: GRPC_REFLECTION, which only the local overlay turns on.
"""

from __future__ import annotations

from collections.abc import Collection

from grpclib.const import Handler
from grpclib.reflection._deprecated import ServerReflection as OlderReflection
from grpclib.reflection.service import ServerReflection


def methods(services: Collection[str]) -> dict[str, Handler]:
    """The methods of reflection, which tell of these services."""
    names = sorted(services)
    found: dict[str, Handler] = {}
    for kind in (ServerReflection, OlderReflection):
        found |= kind(_service_names=names).__mapping__()
    return found
