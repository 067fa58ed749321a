"""The locks of a manager: cmp's, for any process of this machine, with the manners of threading's.

To its users what a manager serves is threading's: they give the arguments that threading takes, and catch the errors
that threading raises. Only the class says that it is not.
"""

from __future__ import annotations

import threading

from . import _core

__all__ = [
    "ManagedBoundedSemaphore",
    "ManagedCondition",
    "ManagedLock",
    "ManagedRLock",
    "ManagedSemaphore",
]


def _patience(blocking: bool, timeout: float) -> float | None:
    """The timeout of a lock between processes that is meant by these arguments of a lock between threads."""
    if timeout == -1:
        return None
    threading.Lock().acquire(blocking, timeout)  # a free one: it has nothing to say but what is wrong with them
    return timeout


class ManagedLock(_core.Lock):
    """A Lock."""

    def acquire(self, blocking=True, timeout=-1):
        """Takes it; -1 waits for ever."""
        return super().acquire(blocking, _patience(blocking, timeout))

    def release(self):
        """Lets go of it, whoever took it."""
        try:
            super().release()
        except ValueError:
            raise RuntimeError("release unlocked lock") from None


class ManagedRLock(_core.RLock):
    """An RLock."""

    def acquire(self, blocking=True, timeout=-1):
        """Takes it once more; -1 waits for ever."""
        return super().acquire(blocking, _patience(blocking, timeout))

    def release(self):
        """Lets go of it once."""
        try:
            super().release()
        except AssertionError:
            raise RuntimeError("cannot release un-acquired lock") from None


class _Counting:
    """Mixed into both kinds of semaphores, where a negative timeout is over at once."""

    def acquire(self, blocking=True, timeout=None):
        """Takes one."""
        if timeout is not None and not blocking:
            raise ValueError("can't specify timeout for non-blocking acquire")
        return super().acquire(blocking, timeout)


class ManagedSemaphore(_Counting, _core.Semaphore):
    """A Semaphore."""


class ManagedBoundedSemaphore(_Counting, _core.BoundedSemaphore):
    """A BoundedSemaphore."""

    def release(self):
        """Gives one back."""
        try:
            super().release()
        except ValueError:
            raise ValueError("Semaphore released too many times") from None


class ManagedCondition(_core.Condition):
    """A Condition over one of the above."""

    def acquire(self, *args, **kwds):
        """Takes its lock."""
        return self._lock.acquire(*args, **kwds)

    def release(self):
        """Lets go of its lock."""
        self._lock.release()

    def wait(self, timeout=None):
        """Waits for a notification; False if none came in time."""
        self._check_owned("wait")
        return super().wait(timeout)

    def notify(self, n=1):
        """Wakes n of those that wait."""
        self._check_owned("notify")
        super().notify(n)

    def notify_all(self):
        """Wakes all that wait."""
        self._check_owned("notify")
        super().notify_all()

    def _check_owned(self, verb: str) -> None:
        if not self._lock._semlock._is_mine():
            raise RuntimeError(f"cannot {verb} on un-acquired lock")
