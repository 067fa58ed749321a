"""Each allocation of a pool's parent fails once in turn: what was called says so or does without, and all goes on."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support import alone
from support.waiting import wait_until

import cmp
from cmp.pool import PoolEndedError, WorkerLostError

_testcapi = pytest.importorskip("_testcapi")
if not hasattr(_testcapi, "set_nomemory"):
    pytest.skip("this interpreter has no failing allocator", allow_module_level=True)

ALL_LATER = 1 << 30
BEGUN, TOLD = cmp.Event(), cmp.Event()


def fails(call: Callable, error: type[Exception]) -> None:
    """As pytest.raises, in a few lines: an interpreter may crash where much Python code meets a lack of memory."""
    try:
        call()
    except (error, MemoryError):
        return
    raise AssertionError("it did not fail")


def long_bytes(n: int) -> bytes:
    return b"x" * (n * 500)


# Each work yields once: what is to be called while allocations fail. What it finds afterwards has to be in order.


def apply(pool) -> Iterator[Callable]:
    def call() -> None:
        assert pool.apply(long_bytes, (3,)) == long_bytes(3)

    yield call


def apply_async(pool) -> Iterator[Callable]:
    def call() -> None:
        results = [pool.apply_async(long_bytes, (n,)) for n in range(4)]
        assert [result.get() for result in results] == [long_bytes(n) for n in range(4)]

    yield call


def map_(pool) -> Iterator[Callable]:
    def call() -> None:
        assert pool.map(long_bytes, range(12), 2) == [long_bytes(n) for n in range(12)]

    yield call


def imap(pool) -> Iterator[Callable]:
    """More than an iterator has places for at first."""

    def call() -> None:
        assert [len(item) for item in pool.imap(long_bytes, range(90))] == [500 * n for n in range(90)]

    yield call


def imap_unordered(pool) -> Iterator[Callable]:
    """CPython 3.12 crashes where the frame of a generator expression finds no memory."""

    def call() -> None:
        sizes = sorted(map(len, pool.imap_unordered(long_bytes, range(12), 3)))
        assert sizes == [500 * n for n in range(12)]

    yield call


def end_when_told() -> None:
    BEGUN.set()
    TOLD.wait()
    os._exit(3)


def lose_a_worker(pool) -> Iterator[Callable]:
    """Of a closed pool, which needs no other: the interpreter's own hooks around a fork do not stand this."""
    BEGUN.clear()
    TOLD.clear()
    result = pool.apply_async(end_when_told)
    BEGUN.wait()
    pool.close()

    def call() -> None:
        TOLD.set()
        fails(result.get, WorkerLostError)

    yield call
    TOLD.set()
    fails(result.get, WorkerLostError)
    pool.join()


def end(pool, call: Callable) -> Iterator[Callable]:
    """Workers that would go on for long, and calls that are waited for, are ended all the same."""
    results = [pool.map_async(time.sleep, [99] * 4, 1), pool.apply_async(time.sleep, (99,)), pool.imap(abs, range(9))]
    yield call
    for wait in (results[0].get, results[1].get, results[2].next):
        fails(wait, PoolEndedError)
    pool.join()


def terminate(pool) -> Iterator[Callable]:
    return end(pool, pool.terminate)


def leave(pool) -> Iterator[Callable]:
    return end(pool, pool.__exit__)


def close(pool) -> Iterator[Callable]:
    result = pool.map_async(abs, range(4))
    yield pool.close
    assert result.get() == [0, 1, 2, 3]
    pool.join()


def join(pool) -> Iterator[Callable]:
    """While its helper threads are about to end, which are waited for, too."""
    pool.apply_async(abs, (-1,), callback=abs).wait()
    pool.close()
    yield pool.join
    pool.join()


def join_at_last(pool) -> Iterator[Callable]:
    """When they have ended: which allocation it is that fails does not depend on what other threads allocate."""
    pool.apply_async(abs, (-1,), callback=abs).wait()
    pool.close()
    wait_until(lambda: not any(thread.name.startswith("cmp-pool-") for thread in threading.enumerate()))
    yield pool.join
    pool.join()


def play_once(play: Callable, number: int, how_many: int) -> None:
    with cmp.Pool(2) as pool:
        assert pool.map(abs, range(4)) == [0, 1, 2, 3]
        work = play(pool)
        call = next(work)
        _testcapi.set_nomemory(number, number + how_many)
        try:
            call()
        except MemoryError:
            pass
        finally:
            _testcapi.remove_mem_hooks()
        assert next(work, None) is None
        if play not in (lose_a_worker, terminate, leave, close, join, join_at_last):
            assert pool.map(abs, range(4)) == [0, 1, 2, 3]
            pool.close()
            pool.join()


def fail_one_after_the_other(name: str, how_many: int, step: int) -> None:
    with alone.NothingLeft():
        for number in range(0, 60, step):
            play_once(globals()[name], number, how_many)
            gc.collect()  # past sixteen MemoryErrors the interpreter raises always the same, which keeps its tracebacks


WORKS = [apply, apply_async, map_, imap, imap_unordered, lose_a_worker, terminate, leave, close, join, join_at_last]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
def test_any_allocation_may_fail(work):
    alone.run(fail_one_after_the_other, work.__name__, 1, 1, seconds=200)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
def test_all_allocations_from_one_on_may_fail(work):
    alone.run(fail_one_after_the_other, work.__name__, ALL_LATER, 5, seconds=200)
