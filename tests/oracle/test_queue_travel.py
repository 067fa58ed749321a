"""Queues between processes, and under signals, as the standard library has them; each test runs on both."""

from __future__ import annotations

import os
import queue as threads_queue
import signal
import sys
import threading
import time

import pytest
from support.waiting import LONG_S, SHORT_S, finish

# --- between processes ---


def echo(q_in, q_out):
    for item in iter(q_in.get, None):
        q_out.put(item)


def test_items_go_there_and_back(make_queue, mp):
    there, back = make_queue(), make_queue()
    child = mp.Process(target=echo, args=(there, back))
    child.start()
    for i in range(300):
        there.put((i, "x" * i))
    assert [back.get(timeout=LONG_S) for _ in range(300)] == [(i, "x" * i) for i in range(300)]
    there.put(None)
    finish(child)


def put_range(q, start, stop):
    for i in range(start, stop):
        q.put(i)


def take_until_none(q, results):
    taken = list(iter(q.get, None))
    results.put(taken)


@pytest.mark.parametrize("maxsize", [0, 1, 10])
def test_many_producers_and_takers_get_each_item_once_and_in_order(make_queue, mp, maxsize):
    q, results = make_queue(maxsize), mp.Queue()
    takers = [mp.Process(target=take_until_none, args=(q, results)) for _ in range(3)]
    producers = [mp.Process(target=put_range, args=(q, 1000 * i, 1000 * i + 200)) for i in range(3)]
    for process in takers + producers:
        process.start()
    finish(*producers)
    for _ in takers:
        q.put(None)
    lists = [results.get(timeout=LONG_S) for _ in takers]
    finish(*takers)
    everything = [1000 * i + k for i in range(3) for k in range(200)]
    assert sorted(item for taken in lists for item in taken) == everything
    for taken in lists:
        for i in range(3):
            mine = [item for item in taken if item // 1000 == i]
            assert mine == sorted(mine)


def test_put_waits_for_room_that_another_process_makes(make_queue, mp):
    q, done = make_queue(1), mp.Event()
    q.put(0)
    child = mp.Process(target=put_then_set, args=(q, done))
    child.start()
    assert not done.wait(SHORT_S)
    assert q.get(timeout=LONG_S) == 0
    assert done.wait(LONG_S)
    assert q.get(timeout=LONG_S) == 1
    finish(child)


def put_then_set(q, done):
    q.put(1)
    done.set()


def test_queue_works_in_a_grandchild(make_queue, mp):
    q = make_queue()
    child = mp.Process(target=start_grandchild, args=(mp, q))
    child.start()
    assert q.get(timeout=LONG_S) == "from the grandchild"
    finish(child)


def start_grandchild(mp, q):
    grandchild = mp.Process(target=q.put, args=("from the grandchild",))
    grandchild.start()
    grandchild.join()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_queue_travels_to_a_spawned_child(mp, method):
    context = mp.get_context(method)
    q, back, simple = context.Queue(2), context.JoinableQueue(), context.SimpleQueue()
    child = context.Process(target=echo_three, args=(q, back, simple))
    child.start()
    q.put("a")
    assert back.get(timeout=LONG_S) == "a"
    assert simple.get() == 2
    child.join(LONG_S)
    assert child.exitcode == 0


@pytest.mark.skipif(sys.version_info < (3, 11, 5), reason="the stdlib refuses since then")
@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_queue_of_a_fork_context_does_not_go_to_a_spawned_child(mp, kind):
    q = getattr(mp.get_context("fork"), kind)()
    child = mp.get_context("spawn").Process(target=print, args=(q,))
    with pytest.raises(RuntimeError, match="A SemLock created in a fork context is being shared"):
        child.start()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_queue_of_another_context_goes_to_a_forked_child(mp, method):
    q = mp.get_context(method).Queue()
    child = mp.get_context("fork").Process(target=q.put, args=(1,))
    child.start()
    assert q.get(timeout=LONG_S) == 1
    finish(child)


def echo_three(q, back, simple):
    back.put(q.get(timeout=LONG_S))
    simple.put(2)


def test_threads_share_a_queue(make_queue):
    q = make_queue(5)
    got = []
    takers = [threading.Thread(target=lambda: got.extend(iter(q.get, None))) for _ in range(3)]
    putters = [threading.Thread(target=put_range, args=(q, 100 * i, 100 * i + 100)) for i in range(3)]
    for thread in takers + putters:
        thread.start()
    for thread in putters:
        thread.join(LONG_S)
    for _ in takers:
        q.put(None)
    for thread in takers:
        thread.join(LONG_S)
    assert sorted(got) == list(range(300))


def test_simple_queue_between_processes(mp):
    there, back = mp.SimpleQueue(), mp.SimpleQueue()
    child = mp.Process(target=echo, args=(there, back))
    child.start()
    for value in (1, "a", [None]):
        there.put(value)
        assert back.get() == value
    there.put(None)
    finish(child)


# --- signals ---


def wait_in_get(q, ready):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        ready.put("going to wait")
        q.get()
    except KeyboardInterrupt:
        ready.put("interrupted")


def test_ctrl_c_ends_a_blocked_get_and_eats_no_item(make_queue, mp):
    q, ready = make_queue(), mp.Queue()
    child = mp.Process(target=wait_in_get, args=(q, ready))
    child.start()
    assert ready.get(timeout=LONG_S) == "going to wait"
    time.sleep(SHORT_S)  # so that it sleeps; should it not yet, the claim is the same
    os.kill(child.pid, signal.SIGINT)
    assert ready.get(timeout=LONG_S) == "interrupted"
    finish(child)
    q.put(1)
    assert q.get(timeout=LONG_S) == 1


def test_handler_runs_while_get_waits_and_get_goes_on(make_queue):
    q, ran = make_queue(), []

    def handler(number, frame):
        ran.append(number)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        started = time.monotonic()
        with pytest.raises(threads_queue.Empty):
            q.get(timeout=0.3)
        assert ran == [signal.SIGALRM] and time.monotonic() - started >= 0.3
    finally:
        signal.signal(signal.SIGALRM, before)
