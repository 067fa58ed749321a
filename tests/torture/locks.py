"""Holders of a Lock or RLock, killed inside `with`; the next waiter takes it over within a second."""

from __future__ import annotations

import time
import warnings

from .harness import Arena, Words, health
from .queues import die

CREW = 4
KILLS_A_ROUND = 100

# The page that the lock guards.
INSIDE, COUNT, TWIN, ABANDONED, STOP = range(5)


def hold(lock, page: Words, me: int, busy: int, words: Words) -> None:
    """words: [0] entries begun, [1] entries done."""
    met_dead = []
    warnings.simplefilter("always")
    warnings.showwarning = lambda *args: met_dead.append(args)
    n = 0
    while not page[STOP]:
        words[0] = n = n + 1
        with lock:
            if page[INSIDE] != 0 and not met_dead:
                die(f"{me} is inside together with {page[INSIDE]}")
            page[INSIDE] = me
            if met_dead:
                page[ABANDONED] += 1
                page[TWIN] = page[COUNT]  # what the dead one may have left half done
                met_dead.clear()
            if page[TWIN] != page[COUNT]:
                die("what the lock guards was changed by two at once")
            page[COUNT] += 1
            for _ in range(busy):
                pass
            page[TWIN] += 1
            if page[INSIDE] != me:
                die(f"{page[INSIDE]} came in while {me} was inside")
            page[INSIDE] = 0
        words[1] = n


def pick_lock(arena: Arena):
    return arena.dice.choice([arena.context.Lock, arena.context.RLock])()


def holders(arena: Arena, pick=pick_lock) -> None:
    lock, page = pick(arena), Words(8)
    busy = arena.dice.choice([0, 0, 10, 200])
    inside = 0
    number = 0

    def another() -> None:
        nonlocal number
        number += 1
        words = Words(2)
        arena.start(hold, lock, page, number, busy, words, words=words)

    for _ in range(CREW):
        another()
    for _ in range(KILLS_A_ROUND):
        victim = arena.strike()
        inside += victim.words[0] != victim.words[1]
        before = page[COUNT]
        took_s = arena.wait_until(lambda b=before: page[COUNT] != b, "nobody gets the lock")
        arena.most("longest take-over, s", took_s)
        assert took_s < 1.0, f"the lock was taken over only after {took_s:.2f} s"
        another()
        if arena.enough:
            break
    page[STOP] = 1
    for victim in arena.crew:
        assert arena.join(victim, "a waiter hangs") == 0
    arena.crew.clear()
    start = time.monotonic()
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        with lock:
            page[ABANDONED] += len(met)
    arena.most("longest take-over, s", time.monotonic() - start)
    found = health(lock, sweep=True)
    assert found["dead"] == 0, f"left in the lock's memory: {found}"
    # A taker may itself be killed before it has counted.
    assert page[ABANDONED] <= found["repairs"] <= inside, (page[ABANDONED], found, inside)
    arena.count("dead owners", found["repairs"])
    arena.count("entries", page[COUNT])
