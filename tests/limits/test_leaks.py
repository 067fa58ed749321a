"""Each public function, often: memory, descriptors, mappings, children and references stay as they are.

CMP_LEAKS=50 (make leaks) does everything fifty times as often. CMP_LEAKS=full does some of it as often as FULL says."""

from __future__ import annotations

import contextlib
import os
import queue as queues
import signal
import sys
import threading
import time

import pytest
from support import alone, growth

import cmp
from cmp import shared_memory

FULLY = os.environ.get("CMP_LEAKS") == "full"
FACTOR = 1 if FULLY else int(os.environ.get("CMP_LEAKS", "1"))
ITEMS = [
    None,
    7,
    2.5,
    "text",
    b"bytes",
    (1, "two"),
    [3] * 50,
    {"k": [1, {2}]},
    bytes(3000),
    bytes(40_000),
    object,
    1 << 90,
]
SENTINEL = ["watched"]


def double(n: int) -> int:
    return 2 * n


def fail(n: int) -> None:
    raise ValueError(n)


def nothing(*_: object) -> None:
    pass


def messages(times: int) -> None:
    queue, joinable, simple = cmp.Queue(), cmp.JoinableQueue(), cmp.SimpleQueue()
    for n in range(times):
        item = ITEMS[n % len(ITEMS)]
        for each in (queue, joinable, simple):
            each.put(item)
        for each in (queue, joinable, simple):
            assert each.get() == item
        joinable.task_done()
        queue.put(SENTINEL)
        queue.get()
    joinable.join()


def batches(times: int) -> None:
    queue = cmp.Queue()
    for _ in range(times):
        queue.put_many(ITEMS)
        assert queue.get_many(99) == ITEMS
        queue.put_nowait(1)
        assert (queue.empty(), queue.full(), queue.qsize(), queue.get_nowait()) == (False, False, 1, 1)


def large_messages(times: int) -> None:
    queue = cmp.Queue()
    for n in range(times):
        item = bytearray(1 << (12 + n % 11))
        queue.put(item)
        assert queue.get() == item


def failing_messages(times: int) -> None:
    queue, bounded = cmp.Queue(), cmp.Queue(1)
    bounded.put(1)
    for _ in range(times):
        for call, problem in (
            (lambda: queue.put([ITEMS, lambda: 0]), Exception),
            (queue.get_nowait, queues.Empty),
            (lambda: queue.get(timeout=0.0001), queues.Empty),
            (lambda: bounded.put(2, timeout=0.0001), queues.Full),
            (lambda: bounded.put_nowait(bytes(9000)), queues.Full),
            (lambda: queue.get(timeout="soon"), TypeError),
        ):
            with pytest.raises(problem):
                call()


def new_queues(times: int) -> None:
    for _ in range(times):
        queue, joinable, simple = cmp.Queue(3), cmp.JoinableQueue(), cmp.SimpleQueue()
        for each in (queue, joinable, simple):
            each.put(ITEMS)
        assert queue._reader.poll(1) and queue._reader.fileno() > 0
        queue.close()
        queue.join_thread()
        simple.close()


def locks(times: int) -> None:
    for context in (cmp.get_context("fork"), cmp.get_context("spawn")):
        for _ in range(times):
            made = [context.Lock(), context.RLock(), context.Semaphore(2), context.BoundedSemaphore(2)]
            condition, event, barrier = context.Condition(), context.Event(), context.Barrier(1, nothing)
            for lock in [*made, condition]:
                with lock:
                    repr(lock)
                lock.acquire(timeout=1)
                lock.release()
            with condition:
                condition.notify_all()
                condition.wait(0)
                condition.wait_for(lambda: True)
            event.set()
            event.wait(1)
            event.clear()
            barrier.wait()
            barrier.reset()


def lock_calls(times: int) -> None:
    lock, rlock, semaphore, condition = cmp.Lock(), cmp.RLock(), cmp.Semaphore(), cmp.Condition()
    event, barrier = cmp.Event(), cmp.Barrier(1)
    for _ in range(times):
        with lock, rlock, rlock, semaphore, condition:
            lock.acquire(False)
            condition.notify(3)
        event.set()
        event.is_set()
        event.wait(0.1)
        barrier.wait(1)
        with pytest.raises(ValueError):
            lock.release()


def values(times: int) -> None:
    for _ in range(times):
        value, array = cmp.Value("d", 1.0), cmp.Array("i", 100)
        with value.get_lock(), array.get_lock():
            value.value = array[3]
        cmp.RawValue("i").value = 1
        one, other = cmp.Pipe()
        one.send(ITEMS)
        assert other.recv() == ITEMS
        one.close()
        other.close()


def segments(times: int) -> None:
    for _ in range(times):
        made = shared_memory.SharedMemory(create=True, size=5000)
        made.close()
        made.unlink()


def processes(times: int) -> None:
    for n in range(times):
        process = cmp.Process(target=double, args=(n,), daemon=bool(n % 2))
        process.start()
        repr(process)
        if n % 3:
            assert process.sentinel > 0 and process.is_alive() is not None
        if n % 5 == 4:
            process.kill()
        process.join(20 if n % 2 else None)
        if n % 7:
            process.close()


def spawned(times: int) -> None:
    context = cmp.get_context("spawn")
    for _ in range(times):
        queue, lock = context.Queue(), context.Lock()
        process = context.Process(target=print, args=(lock, queue), kwargs={"file": None, "end": ""})
        process.start()
        process.join()


def tasks_of(pool, times: int) -> None:
    called = []
    for n in range(times):
        assert pool.apply(double, (n,)) == 2 * n
        result = pool.apply_async(double, (n,), callback=called.append, error_callback=called.append)
        failed = pool.apply_async(fail, (SENTINEL,), error_callback=called.append)
        assert result.get(100) == 2 * n and result.successful()
        with pytest.raises(ValueError):
            failed.get(100)
        if n % 10 == 0:
            assert pool.map(double, range(20), 3) == pool.map_async(double, range(20)).get(100)
            assert pool.starmap(max, [(1, 2)] * 5) == [2] * 5
            assert list(pool.imap(double, range(9))) == [2 * k for k in range(9)]
            assert sorted(pool.imap_unordered(double, range(9), 2)) == [2 * k for k in range(9)]
            with pytest.raises(ValueError):
                pool.map(fail, range(5))
            with contextlib.suppress(cmp.TimeoutError):  # on a busy machine it may be there
                pool.apply_async(time.sleep, (0.02,)).get(0.0001)
            with pytest.raises(Exception):  # noqa: B017 - whichever pickle raises
                pool.apply(nothing, (lambda: 0,))
            iterator = pool.imap(double, range(50))
            next(iterator)
        called.clear()


def lasting_pool() -> None:
    with cmp.Pool(2) as pool:
        growth.check(lambda times: tasks_of(pool, times), FULL[tasks_of] if FULLY else 150 * FACTOR)


def one_task_workers(times: int) -> None:
    with cmp.Pool(2, maxtasksperchild=1) as pool:
        assert pool.map(double, range(times), 1) == [2 * n for n in range(times)]


def pools(times: int) -> None:
    for n in range(times):
        pool = cmp.Pool(1 + n % 2)
        result = pool.map_async(double, range(5))
        if n % 3 == 0:
            assert result.get(100) == [0, 2, 4, 6, 8]
            pool.close()
        elif n % 3 == 1:
            pool.terminate()
        else:
            pool.close()
        if n % 3 == 2:
            pool.terminate()
        pool.join()


def managers(times: int) -> None:
    for _ in range(times):
        with cmp.Manager() as manager:
            managed(manager, 1)


def managed(manager, times: int) -> None:
    for _ in range(times):
        queue, lock, shared = manager.Queue(), manager.Lock(), manager.list([1])
        queue.put(ITEMS)
        assert queue.get() == ITEMS
        with lock, manager.RLock(), manager.Semaphore(), manager.Condition():
            shared.append(queue)
            assert shared[1].empty()
        manager.Event().set()
        manager.Barrier(1).wait()
        manager.dict(a=1)["b"] = manager.Namespace()


def lasting_manager() -> None:
    with cmp.Manager() as manager:
        growth.check(lambda times: managed(manager, times), 30 * FACTOR)


def interrupts(times: int) -> None:
    """Ctrl-C in calls that wait."""
    queue, lock, event = cmp.Queue(), cmp.Lock(), cmp.Event()
    lock.acquire()
    for _ in range(times):
        for call in (queue.get, lock.acquire, event.wait):
            timer = threading.Timer(0.002, os.kill, (os.getpid(), signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                timer.start()
                call()
            timer.join()


REPEATED = {
    messages: 2000,
    batches: 1000,
    large_messages: 150,
    failing_messages: 200,
    new_queues: 100,
    locks: 100,
    lock_calls: 1000,
    values: 200,
    segments: 50,
    processes: 60,
    spawned: 2,
    one_task_workers: 60,
    pools: 10,
    managers: 2,
    interrupts: 10,
}
# A million messages, a hundred thousand tasks in one pool and as many workers of one task each, ten thousand processes,
# a thousand pools.
FULL = {messages: 250_000, tasks_of: 7000, one_task_workers: 100_000, processes: 10_000, pools: 1000}
# Of what a process, pool or manager itself writes down in the stdlib's books, a little stays.
GENEROUS = growth.Allowance(blocks=0.5, c_kib=0.3, resident_kib=8)


def repeat(name: str) -> None:
    work = globals()[name]
    before = sys.getrefcount(SENTINEL), sys.getrefcount(ITEMS), sys.getrefcount(double)
    times = FULL.get(work, REPEATED[work]) if FULLY else REPEATED[work] * FACTOR
    growth.check(work, times, GENEROUS if times < 100 * FACTOR else None)
    assert (sys.getrefcount(SENTINEL), sys.getrefcount(ITEMS), sys.getrefcount(double)) == before


PATIENCE_S = 3000 if FULLY else 150 + 12 * FACTOR


@pytest.mark.timeout(PATIENCE_S + 10)
@pytest.mark.parametrize("name", [work.__name__ for work in REPEATED])
def test_nothing_grows(name):
    alone.run(repeat, name, seconds=PATIENCE_S)


@pytest.mark.timeout(PATIENCE_S + 10)
def test_nothing_grows_in_a_lasting_pool():
    alone.run(lasting_pool, seconds=PATIENCE_S)


@pytest.mark.timeout(PATIENCE_S + 10)
def test_nothing_grows_in_a_lasting_manager():
    alone.run(lasting_manager, seconds=PATIENCE_S)
