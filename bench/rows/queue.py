"""Queues: throughput between processes, latency, and what one costs to make.

In a throughput row each producer puts its share and each consumer gets its share; the time runs from the moment the
producers are let loose to the last item's arrival.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from bench.crew import run_together
from bench.registry import Limits, Timing, row


@dataclasses.dataclass
class Message:
    number: int
    text: str
    price: float
    tags: list[str]
    urgent: bool = False


MESSAGE = Message(12345, "a short text", 9.75, ["one", "two"])
DICT = {"a": 42, "b": 33, "c": (1, 2, 3), "d": [1, 2, 3], "e": "123", "f": b"kkk"}


def share(total: int, parts: int) -> list[int]:
    """`total` cut into `parts` whole numbers that differ by at most one."""
    return [total // parts + (i < total % parts) for i in range(parts)]


def put_ints(queue: Any, count: int) -> None:
    put = queue.put
    for i in range(count):
        put(i)


def put_same(queue: Any, count: int, item: Any) -> None:
    put = queue.put
    for _ in range(count):
        put(item)


def get_all(queue: Any, count: int) -> None:
    get = queue.get
    for _ in range(count):
        get()


def flow(
    mp: Any, queue: Any, size: int, producers: int, consumers: int, put: Callable[..., None] = put_ints, *put_args: Any
) -> Timing:
    tasks: list[Any] = [(put, (queue, n, *put_args)) for n in share(size, producers)]
    tasks += [(get_all, (queue, n)) for n in share(size, consumers)]
    return Timing(run_together(mp, tasks), size)


def _one_line_bounce(limits: Limits) -> float:
    return 1e-6 / limits["spsc_mps"]


def _int_row(producers: int, consumers: int, target: float) -> None:
    @row(
        f"queue: ints {producers}P{consumers}C",
        size=100_000,
        tiny=400,
        target=target,
        limit=_one_line_bounce,
        limit_text="16-byte records between two spinning processes",
    )
    def ints(mp: Any, size: int) -> Timing:
        return flow(mp, mp.Queue(), size, producers, consumers)


for _p, _c, _target in ((1, 1, 20), (4, 1, 8), (1, 4, 8), (4, 4, 15)):
    _int_row(_p, _c, _target)


@row("queue: dict 1P1C", size=50_000, tiny=200, target=6)
def small_dict(mp: Any, size: int) -> Timing:
    return flow(mp, mp.Queue(), size, 1, 1, put_same, DICT)


def _copy_both_at_once(size_bytes: int) -> Callable[[Limits], float]:
    """The producer copies in while the consumer copies out: the slower of two equal copies."""
    return lambda limits: size_bytes / limits["warm_gbs"] / 1e9


@row("queue: dataclass 1P1C", size=50_000, tiny=200)
def small_dataclass(mp: Any, size: int) -> Timing:
    return flow(mp, mp.Queue(), size, 1, 1, put_same, MESSAGE)


@row(
    "queue: 64 KiB bytes 1P1C",
    size=4000,
    tiny=20,
    op_bytes=64 << 10,
    target=6,
    limit=_copy_both_at_once(64 << 10),
    limit_text="one copy in recycled shared memory",
)
def bytes_64k(mp: Any, size: int) -> Timing:
    return flow(mp, mp.Queue(), size, 1, 1, put_same, bytes(64 << 10))


@row(
    "queue: 8 MiB bytes 1P1C",
    size=40,
    tiny=3,
    op_bytes=8 << 20,
    target=6,
    limit=_copy_both_at_once(8 << 20),
    limit_text="one copy in recycled shared memory",
)
def bytes_8m(mp: Any, size: int) -> Timing:
    return flow(mp, mp.Queue(), size, 1, 1, put_same, bytes(8 << 20))


def _answer(asked: Any, answered: Any, count: int) -> None:
    for _ in range(count):
        answered.put(asked.get())


def _ask(asked: Any, answered: Any, count: int) -> None:
    for i in range(count):
        asked.put(i)
        answered.get()


@row(
    "queue: ping-pong over two queues",
    size=10_000,
    tiny=50,
    target=40,
    limit=lambda limits: limits["spin_us"] * 1e-6,
    limit_text="spinning round trip",
)
def ping_pong(mp: Any, size: int) -> Timing:
    there, back = mp.Queue(), mp.Queue()
    return Timing(run_together(mp, [(_answer, (there, back, size)), (_ask, (there, back, size))]), size)


@row(
    "queue: put+get in one process",
    size=20_000,
    tiny=100,
    target=80,
    limit=lambda limits: 2 * limits["mutex_ns"] * 1e-9,
    limit_text="two robust locks",
)
def put_get(mp: Any, size: int) -> Timing:
    queue = mp.Queue()
    put, get = queue.put, queue.get
    put(0)
    get()  # the standard library starts its feeder thread at the first put
    begin = time.perf_counter()
    for i in range(size):
        put(i)
        get()
    return Timing(time.perf_counter() - begin, size)


@row("queue: create and drop", size=500, tiny=20, target=2)
def create(mp: Any, size: int) -> Timing:
    mp.Queue()  # imports and the first use of anything lazy are not the price of a queue
    begin = time.perf_counter()
    for _ in range(size):
        mp.Queue()
    return Timing(time.perf_counter() - begin, size)


@row(
    "simplequeue: ints 1P1C",
    size=100_000,
    tiny=200,
    target=15,
    limit=_one_line_bounce,
    limit_text="16-byte records between two spinning processes",
)
def simple_ints(mp: Any, size: int) -> Timing:
    return flow(mp, mp.SimpleQueue(), size, 1, 1)


BATCH = 100


def _put_batches(queue: Any, count: int) -> None:
    for start in range(0, count, BATCH):
        queue.put_many(range(start, min(start + BATCH, count)))


def _get_batches(queue: Any, count: int) -> None:
    while count:
        count -= len(queue.get_many(min(BATCH, count)))


@row("queue: ints 1P1C, batches of 100", size=400_000, tiny=400, only=("cmp", "faster-fifo"), baseline="cmp")
def batches(mp: Any, size: int) -> Timing:
    queue = mp.Queue()
    _ = queue.put_many, queue.get_many  # absent here is absent, and not two processes that die of it
    return Timing(run_together(mp, [(_put_batches, (queue, size)), (_get_batches, (queue, size))]), size)
