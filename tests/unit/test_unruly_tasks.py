"""Tasks, and programs with pools, that do what they had better not: fork and return twice, close all descriptors."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from support import alone
from support.tasks import double
from support.waiting import wait_until

import cmp
import cmp.pool
from cmp.pool import WorkerLostError

pytestmark = pytest.mark.timeout(180)


def wait_for_ever(_):
    signal.pause()


# ---- pools in pools ----


class NoDaemon(cmp.Process):
    """Which may have children."""

    @property
    def daemon(self):
        return False

    @daemon.setter
    def daemon(self, _):
        pass


class OuterPool(cmp.pool.Pool):
    @staticmethod
    def Process(_, *args, **kwds):
        return NoDaemon(*args, **kwds)


def use_a_pool(_):
    with cmp.Pool(1) as inner:
        assert inner.apply(double, (4,)) == 8
    return os.getpid()


def test_worker_that_has_had_a_pool_of_its_own_goes_on_and_is_heard():
    with OuterPool(1) as pool:
        heard = []
        for n in range(1, 4):  # nobody waits in get(): the worker has to say that its result is there
            pool.apply_async(use_a_pool, (n,), callback=heard.append)
            wait_until(lambda n=n: len(heard) == n)
        assert set(heard) == {pool._pool[0].pid}


# ---- forks ----


def fork_and_return(path):
    """Returns in both; the child's pid goes to the file."""
    child = os.fork()
    if child:
        with open(path, "w") as file:
            file.write(str(child))
    return os.getpid()


def is_gone(pid):
    """A zombie is: whoever forked it need not wait for it."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_child_of_a_task_that_returns_as_well_leaves_the_pool(tmp_path):
    with cmp.Pool(1) as pool:
        worker = pool.apply(fork_and_return, (tmp_path / "child",))
        assert worker == pool._pool[0].pid
        child = int((tmp_path / "child").read_text())
        wait_until(lambda: is_gone(child))
        assert pool.apply(os.getpid) == worker


def test_task_is_lost_with_its_worker_whatever_a_copy_of_that_does(tmp_path):
    """A copy that went on working would write its claims over the worker's."""
    with cmp.Pool(1) as pool:
        worker = pool.apply(fork_and_return, (tmp_path / "child",))
        waiting = pool.apply_async(wait_for_ever, (0,))
        results = [pool.apply_async(double, (x,)) for x in range(20)]
        time.sleep(0.1)  # for a copy, if there is one, to have its share of them
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(WorkerLostError):
            waiting.get(100)
        assert [result.get(100) for result in results] == [2 * x for x in range(20)]


def fork_in_the_initializer():
    os.fork()


def test_initializer_that_forks_makes_one_worker():
    with cmp.Pool(1, initializer=fork_in_the_initializer) as pool:
        assert len({pool.apply(os.getpid) for _ in range(50)}) == 1
        assert pool.map(double, range(50), 1) == [2 * x for x in range(50)]


# ---- descriptors ----

taken: list[int] = []


def close_all_and_take_their_numbers(path):
    os.closerange(3, 256)
    while not taken or taken[-1] < 64:
        taken.append(os.open(path, os.O_RDWR))
    return True


def test_worker_that_has_closed_its_descriptors_writes_to_nothing_else_and_calls_back(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with cmp.Pool(1) as pool:
        assert pool.apply(close_all_and_take_their_numbers, (str(path),))
        for _ in range(5):
            called = threading.Event()
            pool.apply_async(double, (1,), callback=lambda _, called=called: called.set())
            assert called.wait(100)
    assert path.read_bytes() == b""


def close_all_beside_a_pool(path):
    """With the pool idle: its supervisor sleeps on a descriptor that goes away."""
    pool = cmp.Pool(2)
    assert pool.map(double, range(4)) == [0, 2, 4, 6]
    time.sleep(0.1)
    with open(path, "wb") as file:
        file.write(b"12345678" * 100)
    close_all_and_take_their_numbers(path)
    called = []
    pool.apply_async(double, (1,), callback=called.append)
    wait_until(lambda: called == [2])
    assert pool.map(double, range(100), 1) == [2 * x for x in range(100)]
    for fd in taken:
        assert os.lseek(fd, 0, os.SEEK_CUR) == 0, "somebody has read it"
    pool.close()
    pool.join()
    with open(path, "rb") as file:
        assert file.read() == b"12345678" * 100


def test_pool_goes_on_when_its_program_has_closed_all_descriptors(tmp_path):
    alone.run(close_all_beside_a_pool, str(tmp_path / "file"))


def child_with_a_pool_of_its_own(path):
    close_all_and_take_their_numbers(path)
    with cmp.Pool(1) as pool:
        assert pool.apply(double, (4,)) == 8
    for fd in taken:
        os.fstat(fd)


def test_daemonized_child_of_a_pool_s_program_keeps_what_it_has_opened(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with cmp.Pool(1) as pool:
        assert pool.apply(double, (1,)) == 2
        child = cmp.Process(target=child_with_a_pool_of_its_own, args=(str(path),))
        child.start()
        child.join(100)
        assert child.exitcode == 0
        assert pool.apply(double, (1,)) == 2
