"""Clients of a Manager's queues and locks, killed; the manager and the others go on, and what they held comes back."""

from __future__ import annotations

from . import locks, queues
from .harness import Arena


def clients(arena: Arena) -> None:
    """A round of each kind, on one manager."""
    with arena.context.Manager() as manager:

        def pick_queue(arena: Arena):
            return manager.Queue(arena.dice.choice([0, 1, 50])), arena.dice.choice(list(queues.SHAPES)), 1

        def pick_lock(arena: Arena):
            return arena.dice.choice([manager.Lock, manager.RLock])()

        queues.producers(arena, pick_queue)
        queues.consumers(arena, pick_queue)
        locks.holders(arena, pick_lock)
        arena.wait_until(lambda: manager._number_of_objects() == 0, "references of killed clients stay", 5)
