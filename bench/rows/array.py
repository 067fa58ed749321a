"""Large arrays through queues and pools. NumPy is asked for only here."""

from __future__ import annotations

import time
from typing import Any

from bench.crew import run_together
from bench.registry import Absent, Limits, Timing, row

MIB = 1 << 20


def ndarray(size_bytes: int) -> Any:
    try:
        import numpy
    except ImportError:
        raise Absent("numpy is not installed") from None
    return numpy.arange(size_bytes // 8, dtype="float64")


def _warm_copy(size_bytes: int) -> Any:
    def limit(limits: Limits) -> float:
        return size_bytes / limits["warm_gbs"] / 1e9

    return limit


def _send(queue: Any, count: int, size_bytes: int) -> None:
    array = ndarray(size_bytes)
    for _ in range(count):
        queue.put(array)


def _receive(queue: Any, count: int) -> None:
    for _ in range(count):
        array = queue.get()
        assert array[-1] == array.size - 1


def _receive_and_add(queue: Any, count: int) -> None:
    for _ in range(count):
        array = queue.get()
        array += 1
        assert array[-1] == array.size


def _arrays(mp: Any, size: int, receive: Any) -> Timing:
    ndarray(8)  # Absent here, and not in a child
    queue = mp.Queue()
    return Timing(run_together(mp, [(_send, (queue, size, 32 * MIB)), (receive, (queue, size))]), size)


@row(
    "array: forty 32 MiB float64 arrays 1P1C",
    size=40,
    tiny=2,
    op_bytes=32 * MIB,
    target=10,
    limit=_warm_copy(32 * MIB),
    limit_text="one copy in recycled shared memory",
)
def arrays(mp: Any, size: int) -> Timing:
    return _arrays(mp, size, _receive)


@row(
    "array: forty 32 MiB, receiver adds 1",
    size=40,
    tiny=2,
    op_bytes=32 * MIB,
    target=6,
    limit=_warm_copy(32 * MIB),
    limit_text="one copy in recycled shared memory",
)
def arrays_added(mp: Any, size: int) -> Timing:
    return _arrays(mp, size, _receive_and_add)


def _length(array: Any) -> int:
    return len(array)


_made: dict[int, Any] = {}


def _give(size_bytes: int) -> Any:
    """The same array each time: what is measured is its way, not how it is made."""
    if size_bytes not in _made:
        _made[size_bytes] = ndarray(size_bytes)
    return _made[size_bytes]


@row(
    "array: 8 MiB as map arguments",
    size=24,
    tiny=3,
    op_bytes=8 * MIB,
    target=6,
    limit=_warm_copy(8 * MIB),
    limit_text="one copy in recycled shared memory",
)
def arguments(mp: Any, size: int) -> Timing:
    # Each its own: a peer that keeps what it has sent once (joblib) shall not win by sending nothing.
    first, second = ([ndarray(8 * MIB) for _ in range(size)] for _ in range(2))
    with mp.Pool(2) as pool:
        pool.map(_length, first, 1)
        begin = time.perf_counter()
        lengths = pool.map(_length, second, 1)
        seconds = time.perf_counter() - begin
        assert lengths == [MIB] * size
        pool.close()
        pool.join()
    return Timing(seconds, size)


@row(
    "array: 8 MiB as map results",
    size=24,
    tiny=3,
    op_bytes=8 * MIB,
    target=6,
    limit=_warm_copy(8 * MIB),
    limit_text="one copy in recycled shared memory",
)
def results(mp: Any, size: int) -> Timing:
    ndarray(8)
    with mp.Pool(2) as pool:
        pool.map(_give, [8 * MIB] * size, 1)
        begin = time.perf_counter()
        made = pool.map(_give, [8 * MIB] * size, 1)
        seconds = time.perf_counter() - begin
        assert len(made) == size and made[-1][-1] == MIB - 1
        pool.close()
        pool.join()
    return Timing(seconds, size)
