"""How cost grows: each function measures one point. `x` takes the place of a row's size.

They are rows of bench/growth.py and not of the table; "growth: ..." names them for bench/child.py.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

from bench.crew import run_together
from bench.registry import Row, Timing
from bench.rows.pool import same
from bench.rows.process import start_join_over
from bench.rows.queue import flow, get_all, put_same, share

MIB = 1 << 20
CROWD = 100_000  # messages through a crowd of processes
TASKS = 10_000
POINTS: dict[str, Row] = {}


def point(name: str) -> Any:
    def register(work: Any) -> Any:
        POINTS[f"growth: {name}"] = Row(f"growth: {name}", work, 0, 0)
        return work

    return register


def resident() -> int:
    """Bytes of this process that lie in memory, shared ones included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@point("message size")
def message_size(mp: Any, x: int) -> Timing:
    count = max(4, min(20_000, 128 * MIB // x))
    return flow(mp, mp.Queue(), count, 1, 1, put_same, bytes(x))


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _crowd(mp: Any, producers: int, consumers: int) -> Timing:
    begin = _cpu()
    timing = flow(mp, mp.Queue(), CROWD, producers, consumers)
    return Timing(timing.seconds, timing.ops, {"cpu us": (_cpu() - begin) / timing.ops * 1e6})


@point("producers and consumers")
def both(mp: Any, x: int) -> Timing:
    return _crowd(mp, x, x)


@point("producers")
def producers(mp: Any, x: int) -> Timing:
    return _crowd(mp, x, 1)


@point("consumers")
def consumers(mp: Any, x: int) -> Timing:
    return _crowd(mp, 1, x)


@point("workers")
def workers(mp: Any, x: int) -> Timing:
    begin_create = time.perf_counter()
    pool = mp.Pool(x)
    try:
        pool.map(same, range(x * 20), 1)
        created = time.perf_counter() - begin_create
        begin = time.perf_counter()
        pool.map(same, range(TASKS), 1)
        seconds = time.perf_counter() - begin
        pool.close()
        pool.join()
    finally:
        pool.terminate()
    return Timing(seconds, TASKS, {"create ms": created * 1e3})


@point("queues")
def queues(mp: Any, x: int) -> Timing:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2 * x + 100:  # two descriptors a queue
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    warm = mp.Queue()
    memory, descriptors = resident(), len(os.listdir("/proc/self/fd"))
    begin = time.perf_counter()
    made = [mp.Queue() for _ in range(x)]
    seconds = time.perf_counter() - begin
    descriptors = len(os.listdir("/proc/self/fd")) - descriptors
    for queue in made:
        queue.put(0)
    for queue in made:
        queue.get()
    memory = resident() - memory
    del warm
    return Timing(seconds, x, {"KiB each": memory / x / 1024, "descriptors each": descriptors / x})


@point("parent memory")
def parent_memory(mp: Any, x: int) -> Timing:
    held = bytearray(x)
    for offset in range(0, x, 4096):
        held[offset] = 1
    return start_join_over(mp, 20 if x <= 256 * MIB else 8)


@point("queued items")
def queued_items(mp: Any, x: int) -> Timing:
    queue = mp.Queue()
    queue.put(0)
    queue.get()
    before = resident()
    put, get = queue.put, queue.get
    begin = time.perf_counter()
    for _ in range(x):
        put(7)  # one small int that exists already, so that what grows is the queue
    seconds = time.perf_counter() - begin
    held = resident() - before
    begin = time.perf_counter()
    for _ in range(x):
        get()
    get_seconds = time.perf_counter() - begin
    return Timing(
        seconds,
        x,
        {"bytes each": held / x, "get us": get_seconds / x * 1e6, "KiB kept after": max(0, resident() - before) / 1024},
    )


def _trickle(queue: Any, count: int) -> None:
    for _ in range(count):
        queue.put(7)
        for _ in range(200):  # some work between messages, as programs have
            pass


@point("oversubscription")
def oversubscription(mp: Any, x: int) -> Timing:
    """x processes, half of them consumers that mostly wait: what a message costs in CPU."""
    begin = _cpu()
    queue, half, count = mp.Queue(), max(1, x // 2), CROWD // 2
    tasks: list[Any] = [(_trickle, (queue, n)) for n in share(count, half)]
    tasks += [(get_all, (queue, n)) for n in share(count, half)]
    seconds = run_together(mp, tasks)
    return Timing(seconds, count, {"cpu us": (_cpu() - begin) / count * 1e6})
