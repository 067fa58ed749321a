"""Processes that die with locks: who takes over, who is passed over, and what the others are told."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from pathlib import Path

import pytest
from support.waiting import LONG_S, asleep, finish, wait_until

import cmp
from cmp import AbandonedLockWarning

TAKE_OVER_S = 10  # promised is one second; a busy machine may be late, a hang would never end


class Holder:
    """A child that calls function(*args) and then stays inside what it entered, until it is killed."""

    def __init__(self, function, *args):
        self.there = cmp.Event()
        self.process = cmp.Process(target=self._run, args=(function, *args))
        self.process.start()
        assert self.there.wait(LONG_S)

    def _run(self, function, *args):
        function(*args)
        self.there.set()
        signal.pause()

    def kill(self):
        self.process.kill()
        self.process.join()


# --- take-over ---


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_lock_of_a_killed_with_is_taken_over_by_who_waits(kind):
    lock = getattr(cmp, kind)()
    holder = Holder(lock.__enter__)
    killer = threading.Timer(0.2, holder.process.kill)
    killer.start()
    with pytest.warns(AbandonedLockWarning, match=rf"process {holder.process.pid}\b"), lock:
        took = time.monotonic()
        holder.process.join()
        assert "MainProcess" in repr(lock)
    killer.join()
    assert time.monotonic() - took < TAKE_OVER_S
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lock.acquire(False)


def use_and_stay(lock, used):
    with lock:
        pass
    used.release()
    signal.pause()


def test_lock_with_more_users_than_slots_is_taken_over():
    lock, used = cmp.Lock(), cmp.Semaphore(0)
    crowd = [cmp.Process(target=use_and_stay, args=(lock, used)) for _ in range(145)]
    for each in crowd:
        each.start()
    for _ in crowd:
        assert used.acquire(timeout=LONG_S)
    holder = Holder(lock.__enter__)
    holder.kill()
    with pytest.warns(AbandonedLockWarning, match=rf"process {holder.process.pid}\b"):
        assert lock.acquire(timeout=TAKE_OVER_S)
    lock.release()
    for each in crowd:
        each.kill()
        each.join()


@pytest.mark.parametrize("take", [lambda lock: lock.acquire(), lambda lock: lock.acquire(timeout=TAKE_OVER_S),
                                  lambda lock: lock.acquire(False)])  # fmt: skip
@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_lock_of_the_dead_is_taken_over_at_once(kind, take):
    lock = getattr(cmp, kind)()
    Holder(lock.__enter__).kill()
    begun = time.monotonic()
    with pytest.warns(AbandonedLockWarning):
        assert take(lock)
    assert time.monotonic() - begun < TAKE_OVER_S


def test_rlock_taken_by_acquire_is_taken_over_too():
    lock = cmp.RLock()
    Holder(lock.acquire).kill()
    with pytest.warns(AbandonedLockWarning), lock:
        pass


def test_plain_acquire_of_the_dead_stays_taken():
    lock = cmp.Lock()
    Holder(lock.acquire).kill()
    assert not lock.acquire(timeout=0.2)
    assert repr(lock) == "<Lock(owner=SomeOtherProcess)>"
    lock.release()
    with lock:
        pass


def test_only_one_of_many_waiters_takes_over():
    lock, inside, count = cmp.Lock(), cmp.RawValue("i", 0), cmp.RawValue("i", 0)

    def take():
        with warnings.catch_warnings(record=True), lock:
            inside.value += 1
            assert inside.value == 1
            count.value += 1
            inside.value -= 1

    holder = Holder(lock.__enter__)
    children = [cmp.Process(target=take) for _ in range(4)]
    for child in children:
        child.start()
    holder.kill()
    finish(*children)
    assert count.value == 4


def test_warning_that_is_an_error_leaves_the_lock_free():
    for lock in (cmp.Lock(), cmp.RLock()):
        Holder(lock.__enter__).kill()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(AbandonedLockWarning), lock:
                pytest.fail("the body must not run")
            with lock:
                pass


def test_condition_whose_lock_was_abandoned_is_held_when_the_warning_is_an_error():
    condition = cmp.Condition()
    holder = Holder(lambda: None)

    def notify_and_die():
        condition.__enter__()
        condition.notify()
        os.kill(os.getpid(), signal.SIGKILL)

    with condition:
        killer = cmp.Process(target=notify_and_die)
        killer.start()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(AbandonedLockWarning):
                condition.wait(LONG_S)
        assert condition._lock._semlock._is_mine()
    killer.join()
    holder.kill()


def test_warning_points_at_the_callers_line():
    lock = cmp.Lock()
    Holder(lock.__enter__).kill()
    with pytest.warns(AbandonedLockWarning) as caught:
        lock.acquire()
    assert Path(caught[0].filename).name == Path(__file__).name
    assert issubclass(AbandonedLockWarning, RuntimeWarning)
    assert AbandonedLockWarning.__module__ == "cmp.synchronize"


def test_child_forked_inside_the_body_releases_nothing_after_a_take_over():
    lock, leave, left = cmp.Lock(), cmp.Event(), cmp.Event()

    def fork_inside():
        lock.__enter__()
        if os.fork() == 0:
            leave.wait(LONG_S)
            lock.__exit__(None, None, None)
            left.set()
            os._exit(0)

    Holder(fork_inside).kill()
    with pytest.warns(AbandonedLockWarning), lock:
        leave.set()
        assert left.wait(LONG_S)
        assert not lock.acquire(False)
    assert lock.acquire(False)


def test_stopped_holder_is_not_dead():
    lock = cmp.Lock()
    holder = Holder(lock.__enter__)
    os.kill(holder.process.pid, signal.SIGSTOP)
    assert not lock.acquire(timeout=0.3)
    holder.kill()
    with pytest.warns(AbandonedLockWarning), lock:
        pass


# --- other deaths ---


def test_notify_passes_over_killed_waiters():
    condition = cmp.Condition()

    def wait():
        with condition:
            condition.wait()

    doomed = [cmp.Process(target=wait) for _ in range(3)]
    for child in doomed:
        child.start()
    wait_until(lambda: asleep(condition) == 3)
    last = cmp.Process(target=wait)
    last.start()
    wait_until(lambda: asleep(condition) == 4)
    for child in doomed:
        child.kill()
        child.join()
    with condition:
        condition.notify()
    finish(last)
    with condition:
        condition.notify_all()
        assert condition.wait(0.05) is False
    assert asleep(condition) == 0


def test_condition_goes_on_when_its_notifier_is_killed():
    condition = cmp.Condition()

    def notify():
        while True:
            with condition:
                condition.notify()

    notifiers = [cmp.Process(target=notify) for _ in range(2)]
    for child in notifiers:
        child.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AbandonedLockWarning)
        for child in notifiers:
            with condition:
                assert condition.wait(LONG_S)
            child.kill()
            child.join()
        with condition:
            assert condition.wait(0.05) is False


def test_event_waits_for_nobody():
    event = cmp.Event()
    waiter = Holder(lambda: event.wait(0))
    os.kill(waiter.process.pid, signal.SIGSTOP)
    event.set()
    event.clear()
    waiter.kill()
    event.set()
    assert event.wait(0)


def test_event_set_and_cleared_at_once_wakes_its_waiters():
    event, ready = cmp.Event(), cmp.Semaphore(0)

    def wait():
        ready.release()
        assert event.wait(LONG_S)

    child = cmp.Process(target=wait)
    child.start()
    assert ready.acquire(timeout=LONG_S)
    while child.is_alive():
        event.set()
        event.clear()
    finish(child)


def test_arrival_counts_though_its_process_dies():
    barrier = cmp.Barrier(2)
    child = cmp.Process(target=barrier.wait)
    child.start()
    wait_until(lambda: barrier.n_waiting == 1)
    child.kill()
    child.join()
    assert barrier.wait(LONG_S) == 1


def test_death_inside_the_action_breaks_the_barrier():
    barrier = cmp.Barrier(2, action=lambda: os.kill(os.getpid(), signal.SIGKILL))
    child = cmp.Process(target=barrier.wait)
    failed = cmp.Event()

    def wait():
        try:
            barrier.wait(LONG_S)
        except threading.BrokenBarrierError:
            failed.set()

    waiter = cmp.Process(target=wait)
    waiter.start()
    wait_until(lambda: barrier.n_waiting == 1)
    child.start()
    child.join()
    assert failed.wait(TAKE_OVER_S)
    finish(waiter)
    assert barrier.broken
    barrier.reset()
    assert not barrier.broken and barrier.n_waiting == 0


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_the_others_go_on(seed):
    """Children that use everything are killed one by one; whoever is left can still do all of it."""
    lock, condition, event, semaphore = cmp.RLock(), cmp.Condition(), cmp.Event(), cmp.Semaphore(0)
    barrier = cmp.Barrier(2)

    def work():
        warnings.simplefilter("ignore")
        while True:
            with lock, lock:
                event.set()
            with condition:
                condition.notify()
                condition.wait(0.001)
            event.clear()
            semaphore.release()
            semaphore.acquire(timeout=0.001)
            try:
                barrier.wait(0.001)
            except threading.BrokenBarrierError:
                barrier.reset()

    children = [cmp.Process(target=work) for _ in range(4)]
    for child in children:
        child.start()
    for i, child in enumerate(children):
        time.sleep(0.01 + 0.003 * (seed + i))  # where the kill lands does not matter
        child.kill()
        child.join()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AbandonedLockWarning)
        assert lock.acquire(timeout=TAKE_OVER_S)
        lock.release()
        assert condition.acquire(timeout=TAKE_OVER_S)
        condition.notify_all()
        assert condition.wait(0.01) is False
        condition.release()
    event.set()
    assert event.wait(LONG_S)
    semaphore.release()
    assert semaphore.acquire(timeout=LONG_S)
    barrier.reset()
    helper = cmp.Process(target=barrier.wait)
    helper.start()
    barrier.wait(LONG_S)
    finish(helper)
