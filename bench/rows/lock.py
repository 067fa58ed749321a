"""Locks and the other synchronisation objects: uncontended cost, contention, and round trips between processes."""

from __future__ import annotations

import time
from typing import Any

from bench.crew import run_together
from bench.registry import Limits, Timing, row
from bench.rows.queue import share


def _robust(limits: Limits) -> float:
    return limits["mutex_ns"] * 1e-9


def _spin_trip(limits: Limits) -> float:
    return limits["spin_us"] * 1e-6


@row(
    "lock: with, uncontended",
    size=200_000,
    tiny=500,
    target=1.8,
    limit=_robust,
    limit_text="a robust lock taken and given; the interpreter's own with is 65 ns",
)
def uncontended(mp: Any, size: int) -> Timing:
    lock = mp.Lock()
    begin = time.perf_counter()
    for _ in range(size):
        with lock:
            pass
    return Timing(time.perf_counter() - begin, size)


@row(
    "lock: acquire+release, uncontended",
    size=200_000,
    tiny=500,
    limit=_robust,
    limit_text="a robust lock taken and given",
)
def acquire_release(mp: Any, size: int) -> Timing:
    lock = mp.Lock()
    acquire, release = lock.acquire, lock.release
    begin = time.perf_counter()
    for _ in range(size):
        acquire()
        release()
    return Timing(time.perf_counter() - begin, size)


@row("lock: RLock with, uncontended", size=200_000, tiny=500, limit=_robust, limit_text="a robust lock taken and given")
def recursive(mp: Any, size: int) -> Timing:
    lock = mp.RLock()
    begin = time.perf_counter()
    for _ in range(size):
        with lock:
            pass
    return Timing(time.perf_counter() - begin, size)


def _hold(lock: Any, count: int) -> None:
    for _ in range(count):
        with lock:
            pass


@row(
    "lock: with, two processes",
    size=200_000,
    tiny=500,
    target=1.5,
    limit=_robust,
    limit_text="a robust lock taken and given",
)
def contended(mp: Any, size: int) -> Timing:
    lock = mp.Lock()
    return Timing(run_together(mp, [(_hold, (lock, n)) for n in share(size, 2)]), size)


def _increment(value: Any, count: int) -> None:
    for _ in range(count):
        with value.get_lock():
            value.value += 1


@row(
    "lock: Value increments by two processes",
    size=100_000,
    tiny=300,
    target=1.5,
    limit=_robust,
    limit_text="a robust lock taken and given",
)
def increments(mp: Any, size: int) -> Timing:
    value = mp.Value("i", 0)
    seconds = run_together(mp, [(_increment, (value, n)) for n in share(size, 2)])
    assert value.value == size
    return Timing(seconds, size)


def _semaphore_turns(mine: Any, theirs: Any, count: int) -> None:
    for _ in range(count):
        mine.acquire()
        theirs.release()


@row("sync: Semaphore round trip", size=5000, tiny=30, limit=_spin_trip, limit_text="spinning round trip")
def semaphore(mp: Any, size: int) -> Timing:
    one, other = mp.Semaphore(1), mp.Semaphore(0)
    tasks = [(_semaphore_turns, (one, other, size)), (_semaphore_turns, (other, one, size))]
    return Timing(run_together(mp, tasks), size)


def _event_turns(mine: Any, theirs: Any, count: int) -> None:
    for _ in range(count):
        mine.wait()
        mine.clear()
        theirs.set()


@row(
    "sync: Event set/wait round trip", size=3000, tiny=30, target=5, limit=_spin_trip, limit_text="spinning round trip"
)
def event(mp: Any, size: int) -> Timing:
    one, other = mp.Event(), mp.Event()
    one.set()
    return Timing(run_together(mp, [(_event_turns, (one, other, size)), (_event_turns, (other, one, size))]), size)


def _condition_turns(condition: Any, turn: Any, mine: int, count: int) -> None:
    for _ in range(count):
        with condition:
            while turn.value != mine:
                condition.wait()
            turn.value = 1 - mine
            condition.notify()


@row(
    "sync: Condition notify/wait round trip",
    size=3000,
    tiny=30,
    target=5,
    limit=_spin_trip,
    limit_text="spinning round trip",
)
def condition(mp: Any, size: int) -> Timing:
    shared, turn = mp.Condition(), mp.RawValue("i", 0)
    tasks = [(_condition_turns, (shared, turn, who, size)) for who in (0, 1)]
    return Timing(run_together(mp, tasks), size)


def _barrier_turns(barrier: Any, count: int) -> None:
    for _ in range(count):
        barrier.wait()


@row(
    "sync: Barrier round trip, two processes",
    size=3000,
    tiny=30,
    target=5,
    limit=_spin_trip,
    limit_text="spinning round trip",
)
def barrier(mp: Any, size: int) -> Timing:
    shared = mp.Barrier(2)
    return Timing(run_together(mp, [(_barrier_turns, (shared, size))] * 2), size)
