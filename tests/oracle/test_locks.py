"""Lock, RLock and both Semaphores as the standard library has them; each test runs on both."""

from __future__ import annotations

import gc
import inspect
import multiprocessing
import re
import sys
import weakref

import pytest
from support.calls import elapsed, error_of, in_thread, interrupted
from support.children import in_child
from support.waiting import LONG_S, SHORT_S, finish


@pytest.fixture(params=["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def lock(request, mp):
    return getattr(mp, request.param)()


# --- all that can be acquired ---


def test_acquire_and_release(lock):
    assert lock.acquire() is True
    assert lock.release() is None
    assert lock.acquire(False) is True
    lock.release()
    assert lock.__enter__() is True
    assert lock.__exit__(None, None, None) is None


@pytest.mark.parametrize(
    "args, kwargs, least",
    [
        ((False,), {}, 0),
        ((False, None), {}, 0),
        ((False, 5), {}, 0),
        ((True, 0), {}, 0),
        ((True, -1), {}, 0),
        ((), {"timeout": -0.5}, 0),
        ((True, SHORT_S), {}, SHORT_S),
        ((), {"timeout": SHORT_S}, SHORT_S),
        ((), {"block": 1, "timeout": SHORT_S}, SHORT_S),
    ],
)
def test_taken_lock_is_refused_in_time(lock, args, kwargs, least):
    lock.acquire()
    result, took = in_thread(lambda: elapsed(lock.acquire, *args, **kwargs))
    assert result is False
    assert least - 0.001 <= took < least + LONG_S
    lock.release()


@pytest.mark.parametrize("args", [(True, "x"), (False, "x"), (1, 2, 3)])
def test_wrong_arguments_are_type_errors(lock, args):
    with pytest.raises(TypeError):
        lock.acquire(*args)
    with pytest.raises(TypeError):
        lock.acquire(wrong=1)
    assert lock.acquire(False)
    lock.release()


def test_release_of_what_is_free(mp):
    for lock in (mp.Lock(), mp.BoundedSemaphore(2)):
        assert error_of(lock.release) == "ValueError: semaphore or lock released too many times"
        assert error_of(lock.__exit__, None, None, None) == error_of(lock.release)
    rlock = mp.RLock()
    assert error_of(rlock.release) == "AssertionError: attempt to release recursive lock not owned by thread"


def needs_locked(mp):
    if mp is multiprocessing and sys.version_info < (3, 14):
        pytest.skip("the standard library has locked() from 3.14 on")


def test_locked_says_whether_it_is_taken_here_and_elsewhere(lock, mp):
    needs_locked(mp)
    assert lock.locked() is False
    with lock:
        assert lock.locked() is True  # an RLock too, though who holds it could take it again
        assert in_child(mp, lock.locked) is True
    assert lock.locked() is False
    assert in_child(mp, lock.locked) is False


def test_semaphore_is_locked_when_none_is_left(mp):
    needs_locked(mp)
    semaphore = mp.Semaphore(2)
    semaphore.acquire()
    assert not semaphore.locked()
    semaphore.acquire()
    assert semaphore.locked()


def test_another_process_waits_for_the_release(lock, mp):
    lock.acquire()
    begun = mp.Event()

    def take():
        begun.set()
        assert lock.acquire(timeout=LONG_S)
        lock.release()

    child = mp.Process(target=take)
    child.start()
    assert begun.wait(LONG_S)
    lock.release()
    finish(child)


def test_any_process_may_release_a_lock(mp):
    lock = mp.Lock()
    lock.acquire()
    assert in_child(mp, lock.release) is None
    assert lock.acquire(False)


def test_plain_acquire_of_an_ended_process_stays_taken(mp):
    lock = mp.Lock()
    assert in_child(mp, lock.acquire) is True
    assert not lock.acquire(timeout=SHORT_S)
    lock.release()
    assert lock.acquire(False)


def test_child_forked_inside_the_body_releases_when_it_leaves(mp):
    lock = mp.Lock()
    lock.__enter__()
    assert in_child(mp, lock.__exit__, None, None, None) is None
    assert lock.acquire(False)


def test_holders_exclude_each_other(lock, mp):
    counter = mp.RawValue("i", 0)

    def count():
        for _ in range(2000):
            with lock:
                counter.value += 1

    children = [mp.Process(target=count) for _ in range(3)]
    for child in children:
        child.start()
    finish(*children)
    assert counter.value == 6000


def test_interrupt_ends_a_blocked_acquire(lock):
    in_thread(lock.acquire)
    assert interrupted(lock.acquire) < LONG_S / 2
    assert interrupted(lock.acquire, True, LONG_S) < LONG_S / 2


def test_locks_are_ordinary_objects(mp):
    class Mine(type(mp.Lock())):
        def __init__(self, name):
            super().__init__(ctx=mp.get_context("fork"))
            self.name = name

    mine = Mine("mine")
    assert mine.name == "mine" and repr(mine) == "<Mine(owner=None)>"
    with mine:
        assert repr(mine) == "<Mine(owner=MainProcess)>"
    plain = mp.Lock()
    plain.note = 1
    gone = weakref.ref(plain)
    del plain
    gc.collect()
    assert gone() is None
    assert mp.Lock() != mp.Lock() and hash(mp.Lock())


# --- Semaphore ---


def test_semaphore_counts(mp):
    semaphore = mp.Semaphore(2)
    assert semaphore.get_value() == 2
    assert semaphore.acquire() and semaphore.acquire()
    assert semaphore.get_value() == 0
    assert not semaphore.acquire(False)
    for value in (1, 2, 3):
        semaphore.release()
        assert semaphore.get_value() == value


def test_semaphore_values(mp):
    assert mp.Semaphore(2**31 - 1).get_value() == 2**31 - 1
    assert error_of(mp.Semaphore(2**31 - 1).release).startswith("ValueError")
    assert repr(mp.BoundedSemaphore(0)) == "<BoundedSemaphore(value=0, maxvalue=0)>"
    for value, error in ((-1, OSError), (2**31, OverflowError), ("1", TypeError), (1.5, TypeError)):
        with pytest.raises(error):
            mp.Semaphore(value)


# --- reprs and the _semlock interface ---


def test_reprs_of_a_lock(mp):
    lock = mp.Lock()
    assert repr(lock) == "<Lock(owner=None)>"
    with lock:
        assert repr(lock) == "<Lock(owner=MainProcess)>"
        assert in_thread(repr, lock) == "<Lock(owner=SomeOtherThread)>"
        assert in_child(mp, repr, lock) == "<Lock(owner=SomeOtherProcess)>"
    assert in_thread(lambda: (lock.acquire(), repr(lock), lock.release())[1]) == "<Lock(owner=MainProcess|T)>"


def test_reprs_of_an_rlock(mp):
    lock = mp.RLock()
    assert repr(lock) == "<RLock(None, 0)>"
    with lock, lock:
        assert repr(lock) == "<RLock(MainProcess, 2)>"
        assert in_thread(repr, lock) == "<RLock(SomeOtherThread, nonzero)>"
        assert in_child(mp, repr, lock) == "<RLock(SomeOtherProcess, nonzero)>"
    assert in_thread(lambda: (lock.acquire(), repr(lock), lock.release())[1]) == "<RLock(MainProcess|T, 1)>"


def test_reprs_of_the_others(mp):
    assert repr(mp.Semaphore(3)) == "<Semaphore(value=3)>"
    assert repr(mp.BoundedSemaphore(3)) == "<BoundedSemaphore(value=3, maxvalue=3)>"
    assert repr(mp.Condition()) == "<Condition(<RLock(None, 0)>, 0)>"
    assert repr(mp.Condition(mp.Lock())) == "<Condition(<Lock(owner=None)>, 0)>"
    if sys.version_info >= (3, 11):
        event = mp.Event()
        assert repr(event) == f"<Event at {id(event):#x} unset>"
        event.set()
        assert repr(event) == f"<Event at {id(event):#x} set>"
        barrier = mp.Barrier(2)
        assert re.fullmatch(r"<\w+\.synchronize\.Barrier at 0x\w+: waiters=0/2>", repr(barrier))
        barrier.abort()
        assert re.fullmatch(r"<\w+\.synchronize\.Barrier at 0x\w+: broken>", repr(barrier))


def test_semlock_interface(mp):
    for lock, kind, most in (
        (mp.Lock(), 1, 1),
        (mp.RLock(), 0, 1),
        (mp.Semaphore(3), 1, 2**31 - 1),
        (mp.BoundedSemaphore(3), 1, 3),
    ):
        semlock = lock._semlock
        value = semlock._get_value()
        assert (semlock.kind, semlock.maxvalue, semlock.name) == (kind, most, None)
        assert isinstance(semlock.handle, int) and semlock.SEM_VALUE_MAX == 2**31 - 1
        assert (semlock._is_mine(), semlock._count(), semlock._is_zero()) == (False, 0, False)
        assert semlock.acquire() and lock._semlock._is_mine()
        assert (lock._semlock._count(), lock._semlock._get_value()) == (1, value - 1)
        assert lock._semlock._is_zero() == (value == 1)
        assert not in_thread(lock._semlock._is_mine)
        assert in_child(mp, lambda s=lock._semlock: (s._is_mine(), s._count())) == (False, 0)
        semlock.release()
        with semlock:
            assert lock._semlock._count() == 1


def test_rlock_belongs_to_a_thread_of_a_process(mp):
    lock = mp.RLock()
    not_owned = "AssertionError: attempt to release recursive lock not owned by thread"
    with lock:
        assert in_thread(error_of, lock.release) == not_owned
        assert in_child(mp, error_of, lock.release) == not_owned
        assert in_thread(lock.acquire, False) is False
        assert lock.acquire(False) and lock.acquire(timeout=0)
        lock.release()
        lock.release()
    assert in_thread(lock.acquire, False) is True


# --- travel ---


def parameters(signature):
    return [(p.name, p.kind, p.default) for p in signature.parameters.values() if p.name != "self"]


def test_signatures_are_the_stdlibs():
    import multiprocessing.synchronize

    import cmp.synchronize

    for name in ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier"):
        ours, theirs = getattr(cmp.synchronize, name), getattr(multiprocessing.synchronize, name)
        assert ours.__module__ == "cmp.synchronize" and ours.__qualname__ == name
        assert parameters(inspect.signature(ours)) == parameters(inspect.signature(theirs))
        for method, there in vars(theirs).items():
            if callable(there) and not method.startswith("_"):
                here = inspect.signature(getattr(ours, method))
                assert parameters(here) == parameters(inspect.signature(there)), (name, method)
    acquire = multiprocessing.Lock().acquire
    for lock in (cmp.Lock(), cmp.RLock(), cmp.Semaphore(), cmp.Condition()):
        assert parameters(inspect.signature(lock.acquire)) == parameters(inspect.signature(acquire))
