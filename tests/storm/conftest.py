"""The same installation fixture as the flows."""

from tests.flows.conftest import installation

__all__ = ["installation"]
