"""The end of a pool: close, join, terminate, and the last reference to it."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest
from support.tasks import begun, double, exit_now, pid_of, sleep_for
from support.waiting import wait_until

import cmp
from cmp.pool import PoolEndedError, WorkerLostError

# ---- workers that die ----


def test_join_ends_after_a_lost_worker():
    pool = cmp.Pool(2)
    result = pool.apply_async(exit_now, (1,))
    pool.close()
    pool.join()
    with pytest.raises(WorkerLostError):
        result.get(timeout=0)


@pytest.mark.parametrize("tasks", [1, 3, 40])
def test_closed_pool_starts_no_worker_in_vain(tasks):
    """Its idle workers leave while others still work: that is no reason for new ones."""
    pool = cmp.Pool(3)
    before = {worker.pid for worker in pool._pool}
    results = [pool.apply_async(sleep_for, (0.3 if number == 0 else 0.001,)) for number in range(tasks)]
    pool.close()
    seen = set()
    while not all(result.ready() for result in results):
        seen |= {child.pid for child in cmp.active_children()}
        time.sleep(0.01)
    pool.join()
    assert seen <= before
    assert {worker.pid for worker in pool._pool} == before


# ---- the end ----


def test_get_after_terminate_raises():
    pool = cmp.Pool(2)
    results = [pool.apply_async(sleep_for, (30,)), pool.map_async(sleep_for, [30] * 20, 1)]
    iterator = pool.imap(sleep_for, itertools.repeat(30))
    done = pool.apply_async(double, (1,))
    pool.terminate()
    pool.join()
    for result in results:
        with pytest.raises(PoolEndedError):
            result.get(timeout=5)
    with pytest.raises(PoolEndedError):
        list(iterator)
    assert done.ready()


def test_results_that_came_before_terminate_are_kept():
    pool = cmp.Pool(1)
    results = [pool.apply_async(double, (i,)) for i in range(100)]
    results[-1].wait()
    pool.terminate()
    assert [result.get(0) for result in results] == [2 * i for i in range(100)]
    pool.join()


def ignore_sigterm():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def test_workers_of_any_kind_are_ended_when_a_later_one_does_not_start():
    started = []

    class Stranger:  # with the methods of a process, and nothing that could be watched
        exitcode = None

        def __init__(self, **kwds):
            self.name = "Stranger"
            self.told = []

        def start(self):
            if len(started) == 3:
                raise OSError("no more of them")
            started.append(self)

        def terminate(self):
            self.told.append("terminate")

        def join(self):
            self.told.append("join")

    class Context:
        Process = Stranger

    with pytest.raises(OSError, match="no more of them"):
        cmp.pool.Pool(5, context=Context())
    assert [stranger.told for stranger in started] == [["terminate", "join"]] * 3


TERMINATE_WHILE_FED = """
import cmp, itertools, resource
resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))  # what goes wrong here takes all the memory there is
for taken in range(300, 2300, 50):  # the feeder thread is in the midst of it, or sleeps, or is being woken
    with cmp.Pool(2) as pool:
        assert sum(1 for _ in itertools.islice(pool.imap(abs, itertools.count()), taken)) == taken
print("ended")
"""


def test_terminate_ends_a_pool_that_is_fed_from_an_endless_iterable():
    done = subprocess.run([sys.executable, "-c", TERMINATE_WHILE_FED], capture_output=True, text=True, timeout=150)
    assert (done.stdout, done.stderr) == ("ended\n", "")


def test_terminate_ends_workers_that_ignore_sigterm():
    pool = cmp.Pool(2, initializer=ignore_sigterm)
    pool.map(double, range(4), 1)
    pool.map_async(sleep_for, [1000, 1000], 1)
    pool.terminate()
    pool.join()


def test_waiter_in_another_thread_hears_of_terminate():
    pool = cmp.Pool(1)
    errors = []

    def wait():
        try:
            pool.apply(sleep_for, (30,))
        except PoolEndedError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: begun(pool))
    pool.terminate()
    thread.join(5)
    pool.join()
    assert len(errors) == 1


def test_pool_is_collected_and_its_workers_end():
    pool = cmp.Pool(2)
    pids = pool.map(pid_of, range(2), 1)
    reference = weakref.ref(pool)
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        del pool
        gc.collect()
    assert reference() is None
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


# ---- start methods, and the rest ----


def test_close_and_join_after_part_of_a_buffered_imap():
    pool = cmp.Pool(2)
    iterator = pool.imap(double, range(1000), buffersize=2)
    assert next(iterator) == 0
    pool.close()
    pool.join()
    assert list(iterator) == [2 * i for i in range(1, 1000)]
