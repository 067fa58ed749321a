"""Event and Barrier, by which processes meet, as the standard library has them; each test runs on both."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

import pytest
from support.calls import elapsed, interrupted
from support.waiting import LONG_S, SHORT_S, finish, wait_until

# --- Event ---


def test_event_is_set_and_cleared(mp):
    event = mp.Event()
    assert event.is_set() is False
    assert event.wait(0) is False and event.wait(-1) is False
    result, took = elapsed(event.wait, SHORT_S)
    assert result is False and SHORT_S - 0.001 <= took < SHORT_S + LONG_S
    assert event.set() is None and event.set() is None
    assert event.is_set() is True
    assert event.wait() is True and event.wait(timeout=0) is True
    assert event.clear() is None and event.clear() is None
    assert event.is_set() is False


def test_event_wakes_all_processes(mp):
    event, ready = mp.Event(), mp.Semaphore(0)

    def wait():
        ready.release()
        assert event.wait(LONG_S) is True

    children = [mp.Process(target=wait) for _ in range(4)]
    for child in children:
        child.start()
    for _ in children:
        assert ready.acquire(timeout=LONG_S)
    event.set()
    finish(*children)


def test_interrupt_ends_an_event_wait(mp):
    event = mp.Event()
    assert interrupted(event.wait) < LONG_S / 2
    assert interrupted(event.wait, LONG_S) < LONG_S / 2


def test_only_the_main_thread_runs_handlers(mp):
    event, ran = mp.Event(), []
    before = signal.signal(signal.SIGUSR1, lambda *_: ran.append(threading.current_thread().name))
    thread = threading.Thread(target=event.wait)
    thread.start()
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        wait_until(lambda: ran)
        assert thread.is_alive() and ran == ["MainThread"]
    finally:
        event.set()
        thread.join(LONG_S)
        signal.signal(signal.SIGUSR1, before)


# --- Barrier ---


def test_barrier_numbers_its_parties(mp):
    barrier, numbers = mp.Barrier(3), multiprocessing.SimpleQueue()

    def pass_twice():
        for _ in range(2):
            numbers.put(barrier.wait(LONG_S))

    children = [mp.Process(target=pass_twice) for _ in range(3)]
    for child in children:
        child.start()
    finish(*children)
    assert sorted(numbers.get() for _ in range(6)) == [0, 0, 1, 1, 2, 2]
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)
    numbers.close()


def test_barrier_action_runs_once_before_all_pass(mp):
    count = mp.RawValue("i", 0)

    def add():
        count.value += 1

    barrier = mp.Barrier(3, action=add)

    def check():
        for i in range(20):
            barrier.wait(LONG_S)
            assert count.value == i + 1
            barrier2.wait(LONG_S)

    barrier2 = mp.Barrier(3)
    children = [mp.Process(target=check) for _ in range(3)]
    for child in children:
        child.start()
    finish(*children)


def test_barrier_breaks_by_timeout_and_is_whole_after_reset(mp):
    barrier = mp.Barrier(2, timeout=SHORT_S)
    for timeout, least in ((None, SHORT_S), (2 * SHORT_S, 2 * SHORT_S), (0, 0), (-1, 0)):
        begun = time.monotonic()
        with pytest.raises(threading.BrokenBarrierError):
            barrier.wait(timeout)
        assert least - 0.001 <= time.monotonic() - begun < least + LONG_S
        assert barrier.broken and barrier.n_waiting == 0
        with pytest.raises(threading.BrokenBarrierError):
            barrier.wait(LONG_S)
        assert barrier.reset() is None
        assert not barrier.broken


@pytest.mark.parametrize("end", ["abort", "reset"])
def test_abort_and_reset_break_it_for_those_that_wait(mp, end):
    barrier = mp.Barrier(3)

    def wait():
        with pytest.raises(threading.BrokenBarrierError):
            barrier.wait(LONG_S)

    children = [mp.Process(target=wait) for _ in range(2)]
    for child in children:
        child.start()
    wait_until(lambda: barrier.n_waiting == 2)
    getattr(barrier, end)()
    finish(*children)
    assert barrier.broken == (end == "abort")


def test_failing_action_breaks_it_and_raises_in_one(mp):
    def fail():
        raise KeyError("action")

    barrier = mp.Barrier(2, fail)
    outcomes = mp.Semaphore(0), mp.Semaphore(0)

    def wait():
        try:
            barrier.wait(LONG_S)
        except KeyError:
            outcomes[0].release()
        except threading.BrokenBarrierError:
            outcomes[1].release()

    children = [mp.Process(target=wait) for _ in range(2)]
    for child in children:
        child.start()
    finish(*children)
    assert [outcome.get_value() for outcome in outcomes] == [1, 1]
    assert barrier.broken


def test_interrupt_takes_an_arrival_back(mp):
    barrier = mp.Barrier(2)
    assert interrupted(barrier.wait, LONG_S) < LONG_S / 2
    assert (barrier.n_waiting, barrier.broken) == (0, False)


def test_barrier_of_one(mp):
    ran = []
    barrier = mp.Barrier(1, lambda: ran.append(1))
    assert barrier.wait() == 0 and barrier.wait(0) == 0 and ran == [1, 1]
