"""The types of cmp's locks as Python sees them: made, made again, subclassed, called without a frame."""

from __future__ import annotations

import os
import sys

import pytest

import cmp
from cmp import synchronize


def test_use_before_init_is_an_attribute_error():
    class Forgot(synchronize.Lock):
        def __init__(self):
            pass

    lock = Forgot()
    for use in (lock.acquire, lock.release, lock.__enter__, lambda: lock._semlock):
        with pytest.raises(AttributeError, match="__init__ was not called"):
            use()
    assert repr(lock) == "<Forgot(owner=unknown)>"
    for name in ("RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier"):
        type_ = getattr(synchronize, name)
        thing = type_.__new__(type_)
        assert "unknown" in repr(thing)
        for method in ("acquire", "release", "wait", "set", "notify_all", "get_value", "abort"):
            if hasattr(type_, method):
                with pytest.raises(AttributeError):
                    getattr(thing, method)()


def test_second_init_is_refused():
    lock = cmp.Lock()
    with pytest.raises(RuntimeError):
        lock.__init__(ctx=cmp.get_context("fork"))
    with lock:
        pass


def test_no_python_frame_of_cmp_beneath_a_call():
    lock, rlock, semaphore, condition = cmp.Lock(), cmp.RLock(), cmp.Semaphore(), cmp.Condition()
    event, barrier = cmp.Event(), cmp.Barrier(1)
    seen = []

    def profile(frame, event, _):
        if event == "call" and frame.f_globals["__name__"].partition(".")[0] in ("cmp", "multiprocessing"):
            seen.append(frame.f_code.co_qualname if hasattr(frame.f_code, "co_qualname") else frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        for each in (lock, rlock, semaphore, condition):
            with each:
                pass
            each.acquire()
            each.release()
        with condition:
            condition.wait(0)
            condition.wait_for(bool, 0)
            condition.notify()
        event.set()
        event.wait()
        barrier.wait()
    finally:
        sys.setprofile(None)
    assert seen == []


def test_import_of_the_module_has_the_stdlibs_names():
    import multiprocessing.synchronize as theirs

    assert synchronize.__all__ == theirs.__all__
    assert (synchronize.RECURSIVE_MUTEX, synchronize.SEMAPHORE, synchronize.SEM_VALUE_MAX) == (0, 1, 2**31 - 1)
    assert issubclass(synchronize.RLock, synchronize.SemLock)
    assert synchronize.Lock(ctx=None).acquire()


class Odd(type):
    __name__ = property(lambda cls: 12)


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"])
def test_a_class_may_call_itself_anything(kind):
    lock = Odd("Strange", (getattr(synchronize, kind),), {})(ctx=cmp.get_context())
    assert repr(lock).startswith("<12(")


def test_a_condition_is_not_ready_before_it_has_its_lock():
    errors = []

    class Context:
        def get_start_method(self):
            return "fork"

        def RLock(self):  # noqa: N802
            for use in (condition.acquire, condition.release, condition.notify, lambda: condition._lock):
                try:
                    use()
                except AttributeError as error:
                    errors.append(error)
            assert "unknown" in repr(condition)
            return cmp.RLock()

    condition = synchronize.Condition.__new__(synchronize.Condition)
    condition.__init__(ctx=Context())
    assert len(errors) == 4
    with condition:
        condition.notify()


@pytest.mark.parametrize("kind", ["Lock", "Semaphore", "Condition", "Event", "Barrier"])
def test_a_state_that_is_none_is_a_type_error(kind):
    cls = getattr(synchronize, kind)
    with pytest.raises(TypeError, match="is a tuple, not 5"):
        cls.__new__(cls).__setstate__(5)


def test_a_barrier_that_is_made_twice_keeps_its_action():
    barrier = cmp.Barrier(1, action=os.getpid)
    with pytest.raises(RuntimeError, match="called before"):
        barrier.__init__(1, action=len, ctx=cmp.get_context())
    assert barrier._action is os.getpid and barrier.wait() == 0
