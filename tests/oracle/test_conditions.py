"""Condition as the standard library has it; each test runs on both."""

from __future__ import annotations

import multiprocessing

import pytest
from support.calls import elapsed, error_of, in_thread, interrupted
from support.waiting import LONG_S, SHORT_S, finish

# --- Condition ---


def test_condition_wants_its_lock_held(mp):
    condition = mp.Condition()
    assert error_of(condition.wait) == "AssertionError: must acquire() condition before using wait()"
    assert error_of(condition.wait_for, bool) == error_of(condition.wait)
    assert error_of(condition.notify) == "AssertionError: lock is not owned"
    assert error_of(condition.notify_all) == "AssertionError: lock is not owned"
    assert condition.wait_for(lambda: 7) == 7


def test_condition_times_out(mp):
    condition = mp.Condition()
    with condition:
        for timeout, least in ((0, 0), (-1, 0), (SHORT_S, SHORT_S)):
            result, took = elapsed(condition.wait, timeout)
            assert result is False and least - 0.001 <= took < least + LONG_S
        result, took = elapsed(condition.wait_for, lambda: 0, SHORT_S)
        assert result == 0 and SHORT_S - 0.001 <= took < SHORT_S + LONG_S
        with pytest.raises(TypeError):
            condition.wait("x")
        assert condition._lock._semlock._is_mine()


@pytest.fixture(params=["none", "Lock", "RLock"])
def condition(request, mp):
    return mp.Condition(None if request.param == "none" else getattr(mp, request.param)())


def waiters(mp, condition, n):
    """n children that wait and then report."""
    asleep, woken = mp.Semaphore(0), mp.Semaphore(0)

    def wait():
        with condition:
            asleep.release()
            assert condition.wait(LONG_S) is True
        woken.release()

    children = [mp.Process(target=wait) for _ in range(n)]
    for child in children:
        child.start()
    for _ in range(n):
        assert asleep.acquire(timeout=LONG_S)
    return children, woken


def test_notify_wakes_as_many_as_it_says(mp, condition):
    children, woken = waiters(mp, condition, 4)
    with condition:
        assert repr(condition).endswith(", 4)>")
        condition.notify()
    assert woken.acquire(timeout=LONG_S)
    with condition:
        condition.notify(0)
        condition.notify(n=2)
    for _ in range(2):
        assert woken.acquire(timeout=LONG_S)
    assert not woken.acquire(timeout=SHORT_S)
    with condition:
        condition.notify_all()
    assert woken.acquire(timeout=LONG_S)
    finish(*children)
    with condition:
        assert repr(condition).endswith(", 0)>")
        condition.notify(5)


def test_notification_without_waiters_is_lost(mp, condition):
    with condition:
        condition.notify_all()
        assert condition.wait(SHORT_S) is False


def test_wait_gives_an_rlock_up_whole_and_back_whole(mp):
    condition = mp.Condition()

    def notify():
        with condition:
            condition.notify()

    child = mp.Process(target=notify)
    with condition, condition, condition:
        child.start()
        assert condition.wait(LONG_S)
        assert condition._lock._semlock._count() == 3
    assert condition._lock._semlock._count() == 0
    finish(child)


def test_wait_for_goes_on_until_it_is_true(mp):
    condition, state = mp.Condition(), mp.RawValue("i", 0)

    def count():
        for _ in range(4):
            with condition:
                state.value += 1
                condition.notify()

    child = mp.Process(target=count)
    with condition:
        child.start()
        assert condition.wait_for(lambda: state.value == 4, LONG_S)
    finish(child)


def test_interrupt_ends_a_wait_with_the_lock_held(mp, condition):
    with condition:
        assert interrupted(condition.wait) < LONG_S / 2
        assert interrupted(condition.wait, LONG_S) < LONG_S / 2
        assert condition._lock._semlock._is_mine()
    assert repr(condition).endswith(", 0)>")


def test_conditions_of_the_stdlib_take_either_lock(mp):
    for lock in (mp.Lock(), mp.RLock()):
        condition = multiprocessing.Condition(lock)
        children, woken = waiters(mp, condition, 2)
        with condition:
            condition.notify_all()
        finish(*children)
        assert woken.get_value() == 2


def test_conditions_take_locks_of_the_stdlib(mp):
    for lock in (multiprocessing.Lock(), multiprocessing.RLock()):
        condition = mp.Condition(lock)
        children, woken = waiters(mp, condition, 2)
        with condition:
            condition.notify_all()
        finish(*children)
        assert woken.get_value() == 2
        with condition:
            assert condition.wait(0) is False and condition._lock._semlock._is_mine()


def test_condition_is_its_lock_too(mp, condition):
    assert condition.acquire() is True
    assert in_thread(condition.acquire, False) is False
    assert condition.release() is None
    assert condition.acquire(block=False) is True
    condition.release()


# --- travel ---


def test_a_condition_wants_a_lock(mp):
    with pytest.raises(AttributeError, match="'int' object has no attribute 'acquire'"):
        mp.Condition(3)
