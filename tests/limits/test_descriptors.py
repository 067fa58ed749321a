"""Out of descriptors (RLIMIT_NOFILE): each work with fewer and fewer left, objects that arrive where there are none."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time

import pytest
from support import alone, works
from support.waiting import LONG_S

import cmp
from cmp.managers import RemoteError
from cmp.pool import WorkerLostError


fillers: list[int] = []


def leave_descriptors(more: int | None) -> None:
    """As many can be opened, no more; None: as many as at first."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if more is None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        while fillers:
            os.close(fillers.pop())
        return
    highest = max(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}"))
    while (free := os.dup(0)) < highest:  # a gap below
        fillers.append(free)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, hard))


def fewer_and_fewer(name: str) -> None:
    work = works.WORKS[name]
    work()
    outcomes = set()
    with alone.NothingLeft():
        for more in range(24, -1, -1):
            print(f"{name}: {more} left", file=sys.stderr, flush=True)
            leave_descriptors(more)
            try:
                work()
            except (OSError, EOFError, RemoteError) as error:
                outcomes.add("error")
                assert "open files" in str(error) or isinstance(
                    error, (EOFError, ConnectionError, FileNotFoundError)
                ), repr(error)
            except RuntimeError as error:
                outcomes.add("error")
                assert "receive_descriptors" in str(error) or "thread" in str(error), repr(error)
            else:
                outcomes.add("done")
            finally:
                leave_descriptors(None)
    work()
    assert "done" in outcomes


@pytest.mark.parametrize("name", works.WORKS)
def test_work_with_few_descriptors_is_done_or_a_clear_error(name):
    alone.run(fewer_and_fewer, name)


def use_without_any() -> None:
    """What is there needs no further descriptor to be used."""
    queue, simple, joinable = cmp.Queue(), cmp.SimpleQueue(), cmp.JoinableQueue()
    locks = [cmp.Lock(), cmp.RLock(), cmp.Condition(), cmp.Semaphore()]
    event = cmp.Event()
    pool = cmp.Pool(2)
    ended = cmp.Process(target=time.sleep, args=(0.05,))
    ended.start()
    leave_descriptors(0)
    for item in (1, "text", bytes(3_000_000), [bytes(100_000)] * 20):
        for each in (queue, simple, joinable):
            each.put(item)
            assert each.get() == item
    for lock in locks:
        with lock:
            pass
    event.set()
    assert event.wait(5)
    ended.join(100)
    assert ended.exitcode == 0
    assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))
    assert len(pool.apply(bytes, (3_000_000,))) == 3_000_000
    pool.close()
    pool.join()
    leave_descriptors(None)
    leave_descriptors(0)  # the pool has given some back
    child = cmp.Process(target=works.queue)  # its own queue needs descriptors, of which it has as few
    child.start()
    child.join()
    assert child.exitcode == 1
    leave_descriptors(None)


def test_everything_that_is_there_can_be_used_without_descriptors():
    alone.run(use_without_any)


def suicide() -> None:
    os._exit(3)


def workers_lost_without_descriptors() -> None:
    with cmp.Pool(2) as pool:
        leave_descriptors(0)
        for _ in range(5):
            try:
                pool.apply(suicide)
            except WorkerLostError as error:
                assert error.exitcode == 3
            else:
                raise AssertionError("it was not lost")
            assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]
        leave_descriptors(None)
        assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]


def test_workers_are_replaced_without_descriptors():
    alone.run(workers_lost_without_descriptors)


def take_over_without_any() -> None:
    """Nobody has reaped who held it, so that there is a process of that number."""
    lock = cmp.Lock()
    there = cmp.Event()
    pid = os.fork()
    if pid == 0:
        with lock:
            there.set()
            signal.pause()
    there.wait()
    leave_descriptors(0)
    os.kill(pid, signal.SIGKILL)
    assert lock.acquire(timeout=LONG_S)
    os.waitpid(pid, 0)
    leave_descriptors(None)


def test_lock_of_a_dead_child_is_taken_over_without_descriptors():
    alone.run(take_over_without_any)


def receive_without_any() -> None:
    """A client that cannot receive a queue's descriptors is told so, and can a moment later."""
    with cmp.Manager() as manager:
        held = manager.list()
        held.append(manager.Queue())
        with alone.NothingLeft():
            for more in range(12):
                leave_descriptors(more)
                try:
                    held[0].put(more)
                except (OSError, RuntimeError, EOFError):
                    pass
                finally:
                    leave_descriptors(None)
        queue = held[0]
        size = queue.qsize()
        assert [queue.get() for _ in range(size)] == list(range(12 - size, 12))
        queue.put("after")
        assert queue.get() == "after"


def test_client_that_cannot_receive_descriptors_is_told_so():
    alone.run(receive_without_any)


def sixty_four() -> None:
    """`ulimit -n 64`: queues until there are no more, and then those there are go on."""
    cmp.Lock()  # the first loads the module of locks, which takes a descriptor to read
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    queues = []
    try:
        while True:
            queues.append(cmp.Queue())
    except OSError as error:
        assert "Too many open files" in str(error)
    assert len(queues) > 20
    locks = [cmp.Lock() for _ in range(500)]  # of a fork context: none needed
    for number, queue in enumerate(queues):
        queue.put(number)
    assert [queue.get() for queue in queues] == list(range(len(queues)))
    del queues[10:]
    for _ in range(3):
        for work in works.WORKS.values():
            work()
    assert all(lock.acquire(False) for lock in locks)


def test_sixty_four_descriptors_are_enough_for_each_work():
    alone.run(sixty_four)
