"""Pool: what join() leaves behind: nothing."""

from __future__ import annotations

import gc
import itertools
import sys
import threading
from multiprocessing import process as books

import pytest
from support.tasks import double

pytestmark = pytest.mark.timeout(180)

ROUNDS = 20


def generate(n):
    yield from range(n)


@pytest.fixture
def patient_threads():
    """A thread that has the interpreter keeps it: what was not done when join() returned is not done a moment later."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(30)
    yield
    sys.setswitchinterval(interval)


def call_back(pool):
    values = []
    pool.map_async(double, range(4), callback=values.extend).get(100)
    pool.close()
    pool.join()
    assert values == [0, 2, 4, 6]


def terminate_after_a_callback(pool):
    pool.apply_async(double, (1,), callback=id).get(100)
    pool.terminate()
    pool.join()


def iterate(pool):
    assert list(pool.imap(double, generate(4))) == [0, 2, 4, 6]
    pool.close()
    pool.join()


def terminate_over_an_endless_iterable(pool):
    """Hangs the standard library's now and then: a worker is ended that has the lock of the results."""
    assert next(pool.imap(double, itertools.count())) == 0
    pool.terminate()
    pool.join()


USES = [call_back, terminate_after_a_callback, iterate, terminate_over_an_endless_iterable]


@pytest.mark.parametrize("use", USES)
def test_after_join_no_thread_of_the_pool_is_there(mp, patient_threads, use):
    before = set(threading.enumerate())
    for _ in range(ROUNDS):
        use(mp.Pool(2))
        assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("use", USES)
def test_after_join_the_workers_objects_go_with_the_pool(mp, patient_threads, use):
    before = set(books._dangling)
    for _ in range(ROUNDS):
        use(mp.Pool(2))
        gc.collect()
        assert set(books._dangling) <= before
