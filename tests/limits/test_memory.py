"""Out of memory: of address space (RLIMIT_AS), of what files may hold (RLIMIT_FSIZE), of the budget (CMP_MEMORY)."""

from __future__ import annotations

import os
import queue as queues
import resource
import signal
import threading
import time

import pytest
from support import alone
from support.waiting import wait_until

import cmp
from cmp.pool import WorkerLostError

MIB = 1 << 20
LARGE = bytes(64 * MIB)


def mapped_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


def leave_address_space(more: int | None) -> None:
    limit = resource.RLIM_INFINITY if more is None else mapped_bytes() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def raises_memory_error(call, *args) -> None:
    try:
        call(*args)
    except MemoryError:
        return
    raise AssertionError("there was memory")


def put_without_address_space() -> None:
    queue = cmp.Queue()
    queue.put("first")
    with alone.NothingLeft():
        leave_address_space(8 * MIB)
        raises_memory_error(queue.put, LARGE)
        raises_memory_error(queue.put, [LARGE])
        queue.put("second")
        leave_address_space(None)
    queue.put(LARGE)
    assert [queue.get(), queue.get(), len(queue.get())] == ["first", "second", len(LARGE)]
    assert queue.empty()


def get_without_address_space(how: str) -> None:
    queue = cmp.Queue()
    poor_is_there, told, enough = cmp.Event(), cmp.Queue(), cmp.Event()
    poor = cmp.Process(target=poor_reader, args=(queue, poor_is_there, told, enough, how))
    poor.start()
    assert poor_is_there.wait(100)
    for number in range(20000):  # more than the first extent holds, small and large ones
        queue.put((number, bytes(number % 90)))
    for number in range(20000, 20100):
        queue.put((number, bytes(100_000)))
    enough.set()
    assert told.get(timeout=100) == "MemoryError"
    taken = told.get(timeout=100)
    rest = [queue.get()[0] for _ in range(queue.qsize())]
    assert sorted(taken + rest) == list(range(20100)), "items were lost"
    assert rest == sorted(rest)
    poor.join(100)
    assert poor.exitcode == 0


def poor_reader(queue, is_there, told, enough, how: str) -> None:
    leave_address_space(int(1.5 * MIB))
    is_there.set()
    enough.wait()
    taken = []
    try:
        while True:
            if how == "get":
                taken.append(queue.get(timeout=100)[0])
            elif how == "get_nowait":
                taken.append(queue.get_nowait()[0])
            else:
                taken += [number for number, _ in queue.get_many(7, timeout=100)]
    except MemoryError:
        leave_address_space(None)
        told.put("MemoryError")
    else:
        told.put("no error")
    told.put(taken)


def results_without_address_space() -> None:
    with cmp.Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
        leave_address_space(8 * MIB)
        large = pool.apply_async(bytes, (len(LARGE),))
        raises_memory_error(large.get, 20)
        behind = pool.apply_async(abs, (-3,))
        raises_memory_error(behind.get, 20)  # results come in order
        assert idle_share() < 0.1, "the supervisor spins"
        leave_address_space(None)
        assert len(large.get(100)) == len(LARGE)
        assert behind.get(100) == 3
        assert pool.map(abs, [-1, -2]) == [1, 2]


def death_of_who_answered_out_of_sight() -> None:
    """A result is published and its worker killed while the parent cannot see it: the task has its result, no loss."""
    with cmp.Pool(1) as pool:
        worker = pool.apply(os.getpid)
        leave_address_space(8 * MIB)
        large = pool.apply_async(bytes, (len(LARGE),))
        raises_memory_error(large.get, 20)  # it is there
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: worker not in [process.pid for process in pool._pool])
        assert idle_share() < 0.1, "the supervisor spins over a death that it cannot settle yet"
        raises_memory_error(large.get, 20)
        leave_address_space(None)
        assert len(large.get(100)) == len(LARGE)
        assert pool.map(abs, [-1, -2]) == [1, 2]


def idle_share() -> float:
    """How much of half a second this process is busy although nobody asks anything of it."""
    before = time.process_time()
    time.sleep(0.5)
    return (time.process_time() - before) / 0.5


def worker_without_address_space() -> None:
    context = cmp.get_context("spawn")
    enough = resource.RLIMIT_AS, (mapped_bytes(), resource.RLIM_INFINITY)
    with context.Pool(1, resource.setrlimit, enough) as pool:
        assert pool.apply(abs, (-1,)) == 1
        lost = pool.apply_async(len, (3 * LARGE,))
        try:
            lost.get(100)
        except (WorkerLostError, MemoryError) as error:
            assert "memory" in str(error) or "gave up" in str(error), error
        else:
            raise AssertionError("there was memory")


def small_files_allowed() -> None:
    queue = cmp.Queue()
    pool = cmp.Pool(1)
    assert pool.apply(abs, (-2,)) == 2
    with alone.NothingLeft():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        raises_memory_error(queue.put, LARGE)
        raises_memory_error(cmp.Queue)
        raises_memory_error(cmp.get_context("spawn").Lock)
        raises_memory_error(cmp.Pool, 1)
        with cmp.Lock():
            pass
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    queue.put(LARGE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    assert len(queue.get()) == len(LARGE)
    queue.put(LARGE[: 32 * MIB])  # what there is may be used again
    assert len(queue.get()) == 32 * MIB
    assert pool.apply(abs, (-1,)) == 1
    pool.terminate()
    pool.join()


def budget_spent() -> None:
    queue = cmp.Queue()
    queue.put(b"a" * 6 * MIB)
    began = time.monotonic()
    for call in (queue.put, queue.put_nowait, lambda item: queue.put(item, timeout=100)):
        raises_memory_error(call, b"b" * 6 * MIB)
    assert time.monotonic() - began < 90, "put waited for memory"
    queue.put("small")
    assert queue.get()[:1] == b"a"
    queue.put(b"c" * 6 * MIB)
    assert queue.get() == "small" and queue.get()[:1] == b"c"
    with cmp.Pool(2) as pool:
        raises_memory_error(pool.apply, len, (b"d" * 11 * MIB,))
        try:
            pool.apply(bytes, (11 * MIB,))
        except (MemoryError, cmp.pool.MaybeEncodingError) as error:
            assert "memory" in str(error)
        else:
            raise AssertionError("there was memory")
        assert pool.map(abs, range(50)) == list(range(50))


def full_queue_within_the_budget() -> None:
    queue = cmp.Queue(2)
    queue.put(1)
    queue.put(2)
    try:
        queue.put(3, timeout=0.01)
    except queues.Full:
        pass
    else:
        raise AssertionError("it was not full")
    threading.Timer(0.05, queue.get).start()
    queue.put(3)
    assert [queue.get(), queue.get()] == [2, 3]


def test_put_without_address_space_is_a_memory_error():
    alone.run(put_without_address_space)


@pytest.mark.parametrize("how", ["get", "get_nowait", "get_many"])
def test_consumer_that_cannot_map_an_extent_loses_nothing(how):
    alone.run(get_without_address_space, how)


def test_pool_whose_parent_has_no_address_space_goes_on():
    alone.run(results_without_address_space)


def test_published_result_counts_though_its_worker_dies_before_the_parent_can_see_it():
    alone.run(death_of_who_answered_out_of_sight)


def test_worker_that_cannot_map_its_task_ends_in_an_error():
    alone.run(worker_without_address_space)


def test_limit_on_file_sizes_is_a_memory_error_and_kills_nobody():
    alone.run(small_files_allowed)


def test_spent_budget_is_a_memory_error_at_once():
    alone.run(budget_spent, env={"CMP_MEMORY": "10M"})


def test_full_queue_waits_for_room_and_not_for_memory():
    alone.run(full_queue_within_the_budget, env={"CMP_MEMORY": "10M"})
