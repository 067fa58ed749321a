"""Pool: what a task costs, one by one and in bulk."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from bench.registry import Limits, Timing, row

WORKERS = 2  # as many as the machine of the published table has cores


def nothing() -> None:
    pass


def same(x: int) -> int:
    return x


def add(x: int, y: int) -> int:
    return x + y


def _two_spinning_handoffs(limits: Limits) -> float:
    return limits["spin_us"] * 1e-6


def with_pool(mp: Any, work: Callable[[Any], int]) -> Timing:
    """Times `work` on a pool whose workers have all had a task before; the end of the pool is not timed."""
    pool = mp.Pool(WORKERS)
    try:
        pool.map(same, range(WORKERS * 20), 1)
        begin = time.perf_counter()
        ops = work(pool)
        seconds = time.perf_counter() - begin
        pool.close()
        pool.join()
    finally:
        pool.terminate()
    return Timing(seconds, ops)


@row(
    "pool: Pool(4) create, one task, close, join",
    size=10,
    tiny=1,
    target=1.5,
    limit=lambda limits: 4 * limits["fork_us"] * 1e-6,
    limit_text="four forks of a small C program",
)
def life(mp: Any, size: int) -> Timing:
    def once() -> None:
        pool = mp.Pool(4)
        pool.apply(nothing)
        pool.close()
        pool.join()

    once()
    begin = time.perf_counter()
    for _ in range(size):
        once()
    return Timing(time.perf_counter() - begin, size)


@row(
    "pool: apply of a no-op",
    size=4000,
    tiny=20,
    target=25,
    limit=_two_spinning_handoffs,
    limit_text="spinning round trip",
)
def apply(mp: Any, size: int) -> Timing:
    def work(pool: Any) -> int:
        for _ in range(size):
            pool.apply(nothing)
        return size

    return with_pool(mp, work)


begun: Any  # a worker's: where it says that it has begun


def _enlist(queue: Any) -> None:
    global begun
    begun = queue


def _take_long() -> None:
    begun.put(os.getpid())
    time.sleep(60)


@row("pool: a task fails whose worker is killed", size=40, tiny=2, only=("cmp",), baseline="cmp")
def lost(mp: Any, size: int) -> Timing:
    """From the SIGKILL to the error that get() raises; in the standard library it waits for ever."""
    error, seconds, longest = mp.pool.WorkerLostError, 0.0, 0.0
    there = mp.SimpleQueue()
    with mp.Pool(WORKERS, _enlist, (there,)) as pool:
        for _ in range(size):
            result = pool.apply_async(_take_long)
            pid = there.get()
            start = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            try:
                result.get()
                raise AssertionError("a task outlives its worker")
            except error:
                took = time.perf_counter() - start
            seconds, longest = seconds + took, max(longest, took)
    return Timing(seconds, size, {"longest ms": longest * 1e3})


@row("pool: apply_async of 15k, all get", size=15_000, tiny=40, target=8)
def apply_async(mp: Any, size: int) -> Timing:
    def work(pool: Any) -> int:
        for result in [pool.apply_async(same, (i,)) for i in range(size)]:
            result.get()
        return size

    return with_pool(mp, work)


@row("pool: map chunksize=1, 15k", size=15_000, tiny=40, target=10)
def map_one(mp: Any, size: int) -> Timing:
    def work(pool: Any) -> int:
        assert pool.map(same, range(size), 1) == list(range(size))
        return size

    return with_pool(mp, work)


@row("pool: imap, 15k", size=15_000, tiny=40, target=8)
def imap(mp: Any, size: int) -> Timing:
    def work(pool: Any) -> int:
        assert list(pool.imap(same, range(size))) == list(range(size))
        return size

    return with_pool(mp, work)


@row("pool: imap_unordered, 15k", size=15_000, tiny=40, target=8)
def imap_unordered(mp: Any, size: int) -> Timing:
    def work(pool: Any) -> int:
        assert sum(pool.imap_unordered(same, range(size))) == size * (size - 1) // 2
        return size

    return with_pool(mp, work)


@row("pool: map 400k ints in 8 chunks", size=400_000, tiny=800, target=1.3)
def map_bulk(mp: Any, size: int) -> Timing:
    def work(pool: Any) -> int:
        assert pool.map(same, range(size), size // 8)[-1] == size - 1
        return size

    return with_pool(mp, work)


@row("pool: starmap 100k pairs", size=100_000, tiny=200, target=1.3)
def starmap(mp: Any, size: int) -> Timing:
    pairs = [(i, i) for i in range(size)]

    def work(pool: Any) -> int:
        assert pool.starmap(add, pairs)[-1] == 2 * size - 2
        return size

    return with_pool(mp, work)
