"""The workload that faster-fifo publishes for itself: P producers of `(i,)*5`, C consumers, one by one or batched."""

from __future__ import annotations

from queue import Empty
from typing import Any

from bench.crew import run_together
from bench.registry import Timing, row
from bench.rows.queue import get_all, share

CELLS = {(1, 1): 200_000, (1, 10): 200_000, (10, 1): 100_000, (3, 20): 100_000, (20, 3): 50_000, (20, 20): 50_000}
BATCH = 100


def _produce(queue: Any, count: int) -> None:
    for i in range(count):
        queue.put((i,) * 5)


def _consume_batches(queue: Any, count: int) -> None:
    while count:
        try:
            count -= len(queue.get_many(min(BATCH, count), True, 10.0))
        except Empty:
            raise RuntimeError(f"{count} items never came") from None


def _cell(producers: int, consumers: int, total: int) -> None:
    @row(f"fifo: {producers}x{consumers}, get", size=total, tiny=240)
    def one_by_one(mp: Any, size: int) -> Timing:
        queue = mp.Queue()
        tasks: list[Any] = [(_produce, (queue, n)) for n in share(size, producers)]
        tasks += [(get_all, (queue, n)) for n in share(size, consumers)]
        return Timing(run_together(mp, tasks), size)

    @row(
        f"fifo: {producers}x{consumers}, batches of {BATCH}",
        size=total,
        tiny=240,
        only=("cmp", "faster-fifo"),
        baseline="faster-fifo",
    )
    def batches(mp: Any, size: int) -> Timing:
        queue = mp.Queue()
        _ = queue.get_many  # absent here is absent, and not processes that die of it
        tasks: list[Any] = [(_produce, (queue, n)) for n in share(size, producers)]
        tasks += [(_consume_batches, (queue, n)) for n in share(size, consumers)]
        return Timing(run_together(mp, tasks), size)


for (_p, _c), _total in CELLS.items():
    _cell(_p, _c, _total)
