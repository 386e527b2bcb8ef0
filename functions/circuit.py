"""Leaves alone for a while what has just failed, so that nobody waits for it again and again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Circuit:
    """Closed, it lets everything pass; opened by failures in a row, one try a rest, until one works.

    What fails together is one failure: a process that was held up for a moment finds all its tries too late at once,
    and that says nothing of whom it asked. Times are in seconds, of whichever clock.
    """

    failures_max: int = 3
    rest_seconds: float = 1.0
    _failures: int = 0
    _failed_at: float = float("-inf")
    _rests_until: float = 0.0

    def allows(self, now: float) -> bool:
        """Whether to try; after a rest whoever asks first tries for all."""
        if self._failures < self.failures_max:
            return True
        if now < self._rests_until:
            return False
        self._rests_until = now + self.rest_seconds
        return True

    def worked(self) -> None:
        """It answered."""
        self._failures = 0

    def failed(self, began: float, now: float) -> bool:
        """It did not; answers whether that is a failure of its own, not one that began before the last was known."""
        if began < self._failed_at:
            return False
        self._failures += 1
        self._failed_at = now
        self._rests_until = now + self.rest_seconds
        return True
