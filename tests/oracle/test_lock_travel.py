"""Locks and their like on their way to other processes, on both implementations."""

from __future__ import annotations

import pickle
import re
import sys

import pytest
from support.calls import error_of
from support.waiting import LONG_S, finish

METHODS = ["fork", "spawn", "forkserver"]
SHARED_WITH_SPAWN = "A SemLock created in a fork context is being shared with a process in a spawn context."


def everything(mp):
    return [
        mp.Lock(),
        mp.RLock(),
        mp.Semaphore(2),
        mp.BoundedSemaphore(2),
        mp.Condition(),
        mp.Condition(mp.Lock()),
        mp.Event(),
        mp.Barrier(2),
    ]


def test_pickling_outside_a_start_is_refused(mp):
    for thing in everything(mp):
        message = error_of(pickle.dumps, thing)
        assert re.fullmatch(
            r"RuntimeError: \w+ objects should only be shared between processes through inheritance", message
        )


def use_everything(lock, rlock, semaphore, bounded, over_rlock, over_lock, event, barrier, ready, deeper):
    """The other side of test_locks_travel."""
    if deeper is not None:
        things = (lock, rlock, semaphore, bounded, over_rlock, over_lock, event, barrier, ready)
        child = deeper.Process(target=use_everything, args=(*things, None))
        child.start()
        child.join(LONG_S)
        raise SystemExit(child.exitcode)
    assert not lock.acquire(False) and not rlock.acquire(False)
    assert semaphore.acquire(False) and not semaphore.acquire(False)
    assert bounded.get_value() == 1
    ready.release()
    assert event.wait(LONG_S)
    for condition in (over_rlock, over_lock):
        with condition:
            ready.release()
            assert condition.wait(LONG_S)
    lock.release()
    assert lock.acquire(timeout=LONG_S)
    barrier.wait(LONG_S)


@pytest.mark.parametrize("deep", [False, True], ids=["child", "grandchild"])
@pytest.mark.parametrize("method", METHODS)
def test_locks_travel(mp, method, deep):
    context = mp.get_context(method)
    things = lock, rlock, semaphore, bounded, over_rlock, over_lock, event, barrier = everything(context)
    ready = context.Semaphore(0)
    for thing in (lock, rlock, semaphore, bounded):
        thing.acquire()
    child = context.Process(target=use_everything, args=(*things, ready, context if deep else None))
    child.start()
    assert ready.acquire(timeout=LONG_S)
    event.set()
    for condition in (over_rlock, over_lock):
        assert ready.acquire(timeout=LONG_S)
        with condition:
            condition.notify()
    assert barrier.wait(LONG_S) in (0, 1)
    finish(child)
    assert repr(lock) in ("<Lock(owner=SomeOtherProcess)>", "<Lock(owner=MainProcess)>")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the stdlib does not check")
def test_locks_of_a_fork_context_do_not_go_to_spawned_children(mp):
    for thing in everything(mp.get_context("fork")):
        child = mp.get_context("spawn").Process(target=print, args=(thing,))
        with pytest.raises(RuntimeError, match=SHARED_WITH_SPAWN):
            child.start()


def test_values_take_a_lock(mp):
    for lock in (mp.Lock(), mp.RLock()):
        value = mp.Value("i", 3, lock=lock)
        assert value.get_lock() is lock
        with value.get_lock() if "RLock" in repr(lock) else value:
            pass
        value.value += 1
        assert value.value == 4
    array = mp.Array("i", 4)
    with array.get_lock():
        array[0] = 1
    assert type(array.get_lock()) is type(mp.RLock())
