"""Queues among what others wait with: asyncio, select, the standard library's executors."""

from __future__ import annotations

import asyncio
import os
import queue as threads_queue
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait

import pytest
from support.waiting import LONG_S, finish

import cmp


def test_asyncio_waits_for_the_reader(q):
    async def main():
        loop, seen = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(q._reader, seen.set)
        child = cmp.Process(target=q.put, args=(5,))
        child.start()
        await asyncio.wait_for(seen.wait(), LONG_S)
        loop.remove_reader(q._reader)
        assert q.get_nowait() == 5
        await asyncio.to_thread(child.join)

    asyncio.run(main())


def announce_in_vain(queue) -> None:
    """What a producer leaves that is killed between telling of its item and publishing it."""
    os.write(queue._reader.fileno(), (1).to_bytes(8, sys.byteorder))
    assert wait([queue._reader], 0)


@pytest.mark.parametrize(
    "look", [lambda q: q.empty(), lambda q: not q._reader.poll(), lambda q: raises_empty(q.get_nowait)]
)
def test_whoever_waits_for_the_descriptor_and_looks_in_vain_can_wait_again(look):
    queue = cmp.Queue()
    announce_in_vain(queue)
    assert look(queue)
    assert not wait([queue._reader], 0)
    queue.put(1)
    assert wait([queue._reader], 0)
    assert queue._reader.recv() == 1


def raises_empty(get) -> bool:
    with pytest.raises(threads_queue.Empty):
        get()
    return True


def test_recv_of_what_a_killed_producer_announced_is_eoferror():
    """As from a pipe whose writer was killed within a message: the executors of the stdlib then know that it broke."""
    queue = cmp.Queue()
    announce_in_vain(queue)
    with pytest.raises(EOFError):
        queue._reader.recv()
    queue.put(1)
    assert queue._reader.recv() == 1


def test_reader_is_never_raised_in_vain():
    """One reader that selects and then receives without a timeout never hangs, whatever the producers do."""
    q = cmp.SimpleQueue()
    producers = [cmp.Process(target=lambda: [q.put(i) for i in range(2000)]) for _ in range(2)]
    reader = q._reader
    reader.fileno()  # armed before the children put
    for producer in producers:
        producer.start()
    for _ in range(4000):
        assert wait([reader], LONG_S)
        reader.recv()
    assert not wait([reader], 0)
    finish(*producers)


def test_executor_of_the_stdlib_works_on_our_queues(monkeypatch):
    import concurrent.futures.process as executor

    monkeypatch.setattr(executor, "_SafeQueue", rebased(executor._SafeQueue))
    with ProcessPoolExecutor(2, mp_context=cmp.get_context("fork")) as pool:
        assert list(pool.map(abs, range(-50, 0), chunksize=3)) == list(range(50, 0, -1))
        bad = pool.submit(abs, threading.Lock())
        with pytest.raises(TypeError, match="pickle"):
            bad.result(LONG_S)
        assert pool.submit(abs, -7).result(LONG_S) == 7


def rebased(kind):
    """The executor's own class of queue, with ours as its base. Its __init__ names its base in super()."""

    def __init__(self, max_size=0, *, ctx, **attributes):
        vars(self).update(attributes)
        cmp.queues.Queue.__init__(self, max_size, ctx=ctx)

    hook = kind._on_queue_feeder_error
    return type(kind.__name__, (cmp.queues.Queue,), {"__init__": __init__, "_on_queue_feeder_error": hook})
