"""What the `func` CLI's Python runtime (func-python) serves: `new` makes an object with `handle`, `start`, `stop`."""

from function.func import Function, new

__all__ = ["Function", "new"]
