"""Short works, one for each kind of thing cmp makes: each uses it, checks what it does, and leaves nothing."""

from __future__ import annotations

import os
import time

import cmp


def nothing(*_: object) -> int:
    return 7


def _through(queue) -> None:
    for number in range(3):
        queue.put(number)
    assert [queue.get() for _ in range(3)] == [0, 1, 2]


def queue() -> None:
    made = cmp.Queue()
    _through(made)
    made.close()


def large_items() -> None:
    made = cmp.Queue()
    made.put(bytes(3_000_000))
    assert len(made.get()) == 3_000_000
    made.put_many([bytes(9000)] * 200)
    assert sum(len(made.get()) for _ in range(200)) == 200 * 9000
    made.close()


def joinable_queue() -> None:
    made = cmp.JoinableQueue()
    made.put(1)
    made.get()
    made.task_done()
    made.join()


def simple_queue() -> None:
    _through(cmp.SimpleQueue())


def reader() -> None:
    made = cmp.Queue()
    made._reader.fileno()
    made.put(1)
    assert made._reader.poll(5) and made.get() == 1


def fork_locks() -> None:
    _locks_of(cmp.get_context("fork"))


def slab_locks() -> None:
    _locks_of(cmp.get_context("spawn"))


def _locks_of(context) -> None:
    with context.Lock(), context.RLock(), context.Semaphore(), context.BoundedSemaphore(), context.Condition():
        pass
    event = context.Event()
    event.set()
    assert event.wait(5)
    assert context.Barrier(1).wait() == 0


def value() -> None:
    made = cmp.Value("i", 3)
    with made.get_lock():
        made.value += 1
    assert made.value == 4


def pipe() -> None:
    one, other = cmp.Pipe()
    one.send(1)
    assert other.recv() == 1
    one.close()
    other.close()


def process() -> None:
    made = cmp.Process(target=nothing)
    made.start()
    made.join()
    assert made.exitcode == 0
    made.close()


def process_joined_in_time() -> None:
    made = cmp.Process(target=time.sleep, args=(0.02,), daemon=True)
    made.start()
    made.join(100)
    assert made.exitcode == 0
    made.close()


def pool() -> None:
    with cmp.Pool(2) as made:
        assert made.map(abs, range(-10, 0)) == list(range(10, 0, -1))


def pool_closed() -> None:
    made = cmp.Pool(2)
    try:
        results = [made.apply_async(nothing) for _ in range(5)]
        made.close()
        made.join()
        assert [result.get(100) for result in results] == [7] * 5
    finally:
        made.terminate()
        made.join()


def pool_of_one_task_workers() -> None:
    with cmp.Pool(2, maxtasksperchild=1) as made:
        assert made.map(nothing, range(6), 1) == [7] * 6


def imap() -> None:
    with cmp.Pool(2) as made:
        assert list(made.imap(abs, iter(range(10)))) == list(range(10))


def large_results() -> None:
    with cmp.Pool(2) as made:
        assert len(made.apply(os.urandom, (2_000_000,))) == 2_000_000


def manager() -> None:
    with cmp.Manager() as made:
        shared = made.Queue()
        _through(shared)
        with made.Lock():
            assert made.list([1])[0] == 1


WORKS = {
    work.__name__: work
    for work in (
        queue,
        large_items,
        joinable_queue,
        simple_queue,
        reader,
        fork_locks,
        slab_locks,
        value,
        pipe,
        process,
        process_joined_in_time,
        pool,
        pool_closed,
        pool_of_one_task_workers,
        imap,
        large_results,
        manager,
    )
}
