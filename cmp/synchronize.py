"""Locks, semaphores, conditions, events and barriers between processes: all of cmp._core, under the stdlib's names."""

from __future__ import annotations

from ._core import (
    AbandonedLockWarning,
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    RLock,
    Semaphore,
    SemLock,
    SemLockView,
)
from .seams import namesake

__all__ = ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event"]

RECURSIVE_MUTEX, SEMAPHORE = 0, 1
SEM_VALUE_MAX: int = SemLockView.SEM_VALUE_MAX

_also_here = (AbandonedLockWarning, Barrier, SemLock)  # as in the stdlib, not in __all__
__getattr__ = namesake("synchronize")
