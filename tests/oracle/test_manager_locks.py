"""The locks of a Manager() and their like as the standard library has them; each test runs on both."""

from __future__ import annotations

import multiprocessing
import sys
import threading

import pytest
from support.children import in_child
from support.waiting import LONG_S


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Condition"])
@pytest.mark.parametrize("address", [None, ("127.0.0.1", 0)])
def test_proxy_of_a_lock_says_whether_it_is_taken(mp, kind, address):
    if mp is multiprocessing and sys.version_info < (3, 14):
        pytest.skip("the standard library's proxies have locked() from 3.14 on")
    manager = mp.managers.SyncManager(address=address)
    manager.start()
    with manager:
        lock = getattr(manager, kind)()
        assert lock.locked() is False
        lock.acquire()
        assert lock.locked() is True
        lock.release()
        assert lock.locked() is False


def test_any_client_may_release_a_lock(mp, manager):
    lock = manager.Lock()
    assert lock.acquire()
    in_child(mp, lock.release)
    assert lock.acquire(False)
    assert not lock.acquire(True, 0.01)
    lock.release()
    with pytest.raises(RuntimeError, match="release unlocked lock"):
        lock.release()


def test_a_lock_excludes_other_processes(mp, manager):
    lock = manager.Lock()
    with lock:
        assert in_child(mp, lock.acquire, False) is False
    assert in_child(mp, lock.acquire, False) is True


def test_locks_take_the_timeouts_that_threading_takes(mp, manager):
    for lock in (manager.Lock(), manager.RLock(), manager.Condition()):
        assert lock.acquire(True, -1) is True
        assert in_child(mp, lock.acquire, True, 0.01) is False
        lock.release()
        with pytest.raises(ValueError, match="can't specify a timeout for a non-blocking call"):
            lock.acquire(False, 5)
        with pytest.raises(ValueError, match="timeout value must be"):
            lock.acquire(True, -5)
    for semaphore in (manager.Semaphore(1), manager.BoundedSemaphore(1)):
        assert semaphore.acquire(True, 5) is True
        assert semaphore.acquire(True, -1) is False
        with pytest.raises(ValueError, match="can't specify timeout for non-blocking acquire"):
            semaphore.acquire(False, 5)


def test_minus_one_waits_until_another_process_lets_go(mp, manager):
    lock, taken = manager.Lock(), manager.Event()
    assert lock.acquire()
    other = mp.Process(target=lambda: (taken.set(), lock.acquire(True, -1), lock.release()))
    other.start()
    assert taken.wait(LONG_S)
    other.join(0.1)  # it comes to its wait meanwhile, which it must not end by itself
    lock.release()
    other.join(LONG_S)
    assert other.exitcode == 0


def test_a_condition_that_is_not_held_raises_what_threadings_does(manager):
    for condition in (manager.Condition(), manager.Condition(manager.Lock())):
        with pytest.raises(RuntimeError, match="cannot notify on un-acquired lock"):
            condition.notify()
        with pytest.raises(RuntimeError, match="cannot notify on un-acquired lock"):
            condition.notify_all()
        with pytest.raises(RuntimeError, match="cannot wait on un-acquired lock"):
            condition.wait(1)
        with pytest.raises(RuntimeError, match="cannot wait on un-acquired lock"):
            condition.wait_for(bool, 1)
        with pytest.raises(RuntimeError, match="release un"):
            condition.release()


def test_an_rlock_is_taken_again_by_its_thread_only(mp, manager):
    lock = manager.RLock()
    assert lock.acquire() and lock.acquire()
    assert in_child(mp, lock.acquire, False) is False
    lock.release()
    lock.release()
    with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
        lock.release()


def test_a_bounded_semaphore_refuses_to_be_released_too_often(manager):
    semaphore = manager.BoundedSemaphore(1)
    assert semaphore.acquire()
    assert not semaphore.acquire(False)
    semaphore.release()
    with pytest.raises(ValueError, match="Semaphore released too many times"):
        semaphore.release()


def test_an_event_wakes_a_child(mp, manager):
    event = manager.Event()
    thread = threading.Timer(0.05, event.set)
    thread.start()
    assert in_child(mp, event.wait, LONG_S) is True
    thread.join()
    event.clear()
    assert not event.is_set()


def test_a_condition_over_a_managed_lock_shares_it(mp, manager):
    lock = manager.Lock()
    condition = manager.Condition(lock)
    with condition:
        assert not lock.acquire(False)
        assert not condition.wait(0.01)
    assert lock.acquire(False)
    lock.release()


def test_a_condition_passes_news_between_processes(mp, manager):
    condition, news = manager.Condition(), manager.list()

    def tell():
        with condition:
            news.append(1)
            condition.notify_all()

    with condition:
        process = mp.Process(target=tell)
        process.start()
        assert condition.wait_for(lambda: len(news) == 1, LONG_S)
    process.join(LONG_S)


def test_a_barrier_lets_a_child_and_its_parent_pass(mp, manager):
    barrier = manager.Barrier(2)
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (2, 0, False)
    process = mp.Process(target=barrier.wait)
    process.start()
    assert barrier.wait(LONG_S) in (0, 1)
    process.join(LONG_S)
    barrier.abort()
    assert barrier.broken
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
