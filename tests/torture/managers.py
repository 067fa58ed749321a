"""Clients of a Manager's queue and lock, killed; the manager and the other clients go on, and what they held comes back."""

from __future__ import annotations

from . import locks, queues
from .harness import Arena


def clients(arena: Arena) -> None:
    """Three campaigns in turn, each on a manager of its own."""
    thirds = arena.kills_wanted
    for part, campaign in enumerate((queues.producers, queues.consumers, locks.holders), 1):
        with arena.context.Manager() as manager:
            arena.kills_wanted = thirds * part // 3
            deadline, left_ns = arena.until_ns, arena.until_ns - arena.now_ns()
            arena.until_ns = arena.now_ns() + left_ns // (4 - part)

            def pick(arena: Arena, manager=manager):
                shape = arena.dice.choice(list(queues.SHAPES))
                return manager.Queue(arena.dice.choice([0, 1, 50])), shape, 1

            if campaign is locks.holders:
                campaign(arena, lambda arena, manager=manager: arena.dice.choice([manager.Lock, manager.RLock])())
            else:
                campaign(arena, pick)
            arena.until_ns = deadline
