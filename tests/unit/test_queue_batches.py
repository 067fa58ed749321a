"""put_many and get_many: what they carry, how far they go, and what interrupts them."""

from __future__ import annotations

import os
import queue as threads_queue
import random
import signal
import threading
import time

import pytest
from support.waiting import finish

import cmp


def test_put_many_and_get_many_carry_everything_in_order(q):
    items = [random.choice([i, str(i) * 50, b"b" * 9000, [i, None]]) for i in range(2000)]
    assert q.put_many(iter(items)) == 2000
    got = []
    while len(got) < 2000:
        batch = q.get_many(100)
        assert 1 <= len(batch) <= 100
        got += batch
    assert got == items


def test_get_many_takes_what_is_there(q):
    q.put_many(range(10))
    assert q.get_many(4) == [0, 1, 2, 3]
    assert q.get_many(max=100) == [4, 5, 6, 7, 8, 9]
    for get in (lambda: q.get_many(5, False), lambda: q.get_many(5, True, 0.01)):
        with pytest.raises(threads_queue.Empty):
            get()
    with pytest.raises(ValueError):
        q.get_many(0)


def test_get_many_waits_for_the_first_only(q):
    child = cmp.Process(target=lambda: (time.sleep(0.05), q.put("first")))
    child.start()
    assert q.get_many(5) == ["first"]
    finish(child)


def test_put_many_puts_what_fits():
    q = cmp.Queue(3)
    assert q.put_many(range(5), timeout=0.01) == 3
    with pytest.raises(threads_queue.Full):
        q.put_many(range(5), False)
    assert q.get_many(10) == [0, 1, 2]
    assert q.put_many([]) == 0


def test_put_many_stops_at_what_cannot_be_pickled(q):
    with pytest.raises(TypeError):
        q.put_many([1, 2, threading.Lock(), 3])
    assert q.get_many() == [1, 2]


def test_put_many_that_is_interrupted_says_so_whatever_it_met():
    q = cmp.Queue(1)
    q.put(0)
    interrupter = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT])
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        q.put_many([1, threading.Lock()])
    interrupter.join()
    assert q.get_many() == [0]


def test_put_many_stops_at_an_iterable_that_raises(q):
    def items():
        yield 1
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        q.put_many(items())
    assert q.get_many() == [1]


class Unpicklable:
    def __reduce__(self):
        return int, ("not a number",)


def test_get_many_hands_over_the_others_of_a_batch(q):
    q.put_many([1, Unpicklable(), 3])
    with pytest.raises(ValueError) as error:
        q.get_many()
    assert error.value.items == [1, 3]
    assert q.empty()


def interrupt():
    raise KeyboardInterrupt


class Interrupting:
    """Ctrl-C comes while it is unpickled."""

    def __reduce__(self):
        return interrupt, ()


def test_get_many_that_is_interrupted_says_so_whatever_it_met(q):
    q.put_many([1, Unpicklable(), Interrupting(), Unpicklable(), 5])
    with pytest.raises(KeyboardInterrupt) as error:
        q.get_many()
    assert error.value.items == [1, 5]


def test_what_could_not_be_pickled_keeps_no_join_waiting():
    q = cmp.JoinableQueue()
    with pytest.raises(TypeError):
        q.put_many([1, threading.Lock(), 2])
    with pytest.raises(TypeError):
        q.put(threading.Lock())
    assert q.get() == 1
    q.task_done()
    q.join()


def test_of_a_batch_that_fails_several_times_one_is_the_takers_to_be_done():
    q = cmp.JoinableQueue()
    q.put_many([Unpicklable(), 1, Unpicklable(), Unpicklable()])
    with pytest.raises(ValueError) as error:
        q.get_many()
    for _ in [*error.value.items, error.value]:
        q.task_done()
    q.join()
    with pytest.raises(ValueError, match="task_done"):
        q.task_done()


def test_joinable_batches_count():
    q = cmp.JoinableQueue()
    q.put_many(range(3))
    q.get_many()
    for _ in range(3):
        q.task_done()
    q.join()
    with pytest.raises(ValueError):
        q.task_done()
