"""Manager().Queue(): the same questions as for the plain queue."""

from __future__ import annotations

import importlib
import time
from typing import Any

from bench.registry import Limits, Timing, row
from bench.rows.pool import WORKERS
from bench.rows.queue import flow


def _two_locks(limits: Limits) -> float:
    return 2 * limits["mutex_ns"] * 1e-9


@row(
    "manager: Queue put+get in one process",
    size=8000,
    tiny=40,
    target=300,
    limit=_two_locks,
    limit_text="two robust locks",
)
def put_get(mp: Any, size: int) -> Timing:
    with mp.Manager() as manager:
        queue = manager.Queue()
        queue.put(0)
        queue.get()  # the first call makes the connection
        put, get = queue.put, queue.get
        begin = time.perf_counter()
        for i in range(size):
            put(i)
            get()
        return Timing(time.perf_counter() - begin, size)


@row(
    "manager: Queue ints 1P1C",
    size=10_000,
    tiny=40,
    target=100,
    limit=lambda limits: 1e-6 / limits["spsc_mps"],
    limit_text="16-byte records between two spinning processes",
)
def ints(mp: Any, size: int) -> Timing:
    with mp.Manager() as manager:
        return flow(mp, manager.Queue(), size, 1, 1)


def _report(progress: Any, number: int) -> None:
    progress.put(number)


@row("manager: a Queue with each task of a Pool", size=500, tiny=10)
def with_each_task(mp: Any, size: int) -> Timing:
    """The usual shape of a progress display: a pool's tasks report through a queue that each is given."""
    with mp.Manager() as manager, mp.Pool(WORKERS) as pool:
        progress = manager.Queue()
        pool.apply(_report, (progress, 0))
        progress.get()
        begin = time.perf_counter()
        for number in range(size):
            pool.apply_async(_report, (progress, number))
        total = sum(progress.get() for _ in range(size))
        seconds = time.perf_counter() - begin
        assert total == size * (size - 1) // 2
        pool.close()
        pool.join()
    return Timing(seconds, size)


@row("manager: a connection by TCP", size=20, tiny=2, only=("stdlib", "cmp"))
def connection_by_tcp(mp: Any, size: int) -> Timing:
    """What is asked of the manager itself is asked by a connection of its own."""
    managers = importlib.import_module(f"{mp.__name__}.managers")
    with managers.SyncManager(("127.0.0.1", 0)) as manager:
        begin = time.perf_counter()
        for _ in range(size):
            manager._number_of_objects()
        return Timing(time.perf_counter() - begin, size)
