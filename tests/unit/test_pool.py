"""Pool: what cmp promises beyond the standard library of the work that it does."""

from __future__ import annotations

import itertools
import os
import pickle
import sys
import threading
import time

import pytest
from support.tasks import double, exit_now
from support.waiting import wait_until

import cmp
from cmp.pool import WorkerLostError


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def context(request):
    return cmp.get_context(request.param)


# ---- the end ----


def test_endless_items_that_do_not_pickle_are_taken_no_faster_than_their_errors():
    window, pulled = 1024, 0

    def endless():
        nonlocal pulled
        for number in itertools.count(1):
            pulled = number
            yield lambda: None

    def errors_of(count):
        for _ in range(count):
            with pytest.raises((AttributeError, pickle.PicklingError)):
                next(results)

    with cmp.Pool(1) as pool:
        results = pool.imap(double, endless())
        for taken in (1, 3 * window):
            errors_of(taken)
            deadline = time.monotonic() + 20
            while pulled < window + taken and time.monotonic() < deadline:
                pool.apply(double, (1,))
            assert [pool.apply(double, (i,)) for i in range(100)] == [2 * i for i in range(100)]
            assert window <= pulled <= window + taken + 3
            errors_of(1)
    pool.join()


def use(pool):
    try:
        pool.apply(double, (1,))
    except RuntimeError as error:
        os._exit(0 if "forked child" in str(error) else 1)
    os._exit(2)


def test_pool_used_in_a_forked_child_is_a_clear_error():
    with cmp.Pool(1) as pool:
        process = cmp.Process(target=use, args=(pool,))
        process.start()
        process.join()
        assert process.exitcode == 0


def make_a_pool():
    cmp.Pool(1)


def test_pool_in_a_worker_is_refused_as_in_the_standard_library():
    with cmp.Pool(1) as pool:
        with pytest.raises(AssertionError, match="daemonic processes are not allowed to have children"):
            pool.apply(make_a_pool)


def test_pool_without_work_costs_no_time():
    with cmp.Pool(2) as pool:
        pool.map(double, range(10))
        time.sleep(0.1)
        pids = [os.getpid(), *(worker.pid for worker in pool._pool)]
        before = [cpu_ns(pid) for pid in pids]
        time.sleep(2)
        spent = [cpu_ns(pid) - was for pid, was in zip(pids, before, strict=True)]
        assert max(spent) < 2_000_000


def cpu_ns(pid):
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            total += int(file.read().split()[0])
    return total


# ---- start methods, and the rest ----


def test_all_start_methods_work(context):
    with context.Pool(2) as pool:
        assert pool.map(double, range(50), 3) == [2 * i for i in range(50)]
        assert list(pool.imap(double, iter(range(10)))) == [2 * i for i in range(10)]
        with pytest.raises(WorkerLostError):
            pool.apply(exit_now, (2,))
        assert pool.apply(double, (4,)) == 8


def test_buffersize_limits_what_is_taken_from_the_iterable():
    taken = []

    def items():
        for i in itertools.count():
            taken.append(i)
            yield i

    with cmp.Pool(2) as pool:
        iterator = pool.imap(double, items(), buffersize=4)
        for i in range(10):
            assert next(iterator) == 2 * i
            assert len(taken) <= i + 1 + 4
    with cmp.Pool(1) as pool, pytest.raises(ValueError):
        pool.imap(double, [], buffersize=0)


@pytest.mark.parametrize("chunksize", [0, -1])
def test_map_wants_a_chunksize_of_at_least_one(chunksize):
    with cmp.Pool(1) as pool:
        with pytest.raises(ValueError, match=f"Chunksize must be 1\\+, not {chunksize}"):
            pool.map(abs, [-1], chunksize=chunksize)
        assert pool.map(abs, [], chunksize=chunksize) == []


def test_blocked_iterable_holds_up_nothing_else():
    gate = threading.Event()

    def items():
        yield 1
        gate.wait(100)
        yield 2

    with cmp.Pool(2) as pool:
        iterator = pool.imap(double, items())
        assert next(iterator) == 2
        done = []
        pool.apply_async(double, (5,), callback=done.append)
        wait_until(lambda: done == [10])
        with pytest.raises(WorkerLostError):
            pool.apply(exit_now, (1,))
        gate.set()
        assert list(iterator) == [4]


def test_many_threads_wait_at_once():
    with cmp.Pool(2) as pool:
        sums = []

        def work(base):
            sums.append(sum(pool.apply(double, (base + i,)) for i in range(200)))

        threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(sums) == [sum(2 * (1000 * n + i) for i in range(200)) for n in range(6)]


def test_no_python_frame_of_cmp_under_a_call():
    frames = []

    def profile(frame, event, arg):
        if event == "call" and "/cmp/" in frame.f_code.co_filename:
            frames.append(frame.f_code)

    with cmp.Pool(1) as pool:
        pool.apply(double, (1,))
        sys.setprofile(profile)
        try:
            pool.apply(double, (1,))
            pool.apply_async(double, (1,)).get()
            pool.map(double, range(3))
            list(pool.imap(double, range(3)))
        finally:
            sys.setprofile(None)
    assert frames == []


def test_subclass_may_make_its_own_processes():
    class Plain(cmp.get_context("fork").Process):
        pass

    class MyPool(cmp.pool.Pool):
        @staticmethod
        def Process(ctx, *args, **kwds):
            return Plain(*args, **kwds)

    with MyPool(2) as pool:
        assert all(type(worker) is Plain for worker in pool._pool)
        assert pool.apply(double, (1,)) == 2


@pytest.mark.parametrize("missing", ["threading.Thread", "multiprocessing.util.Finalize"])
def test_pool_without_what_it_is_made_of_says_so_and_leaves_nothing(monkeypatch, missing):
    monkeypatch.delattr(missing)
    with pytest.raises((KeyError, RuntimeError), match=missing.rpartition(".")[2]):
        cmp.Pool(1)
