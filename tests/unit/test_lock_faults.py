"""Locks whose holder forks and dies, whose pid is another's by now, whose warning is an error, and other losses."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
import warnings

import pytest
from support import alone

import cmp
from cmp.synchronize import AbandonedLockWarning

LOCKS = {"Lock": cmp.Lock, "RLock": cmp.RLock, "slab Lock": lambda: cmp.get_context("spawn").Lock()}


def kill(process) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def fork_inside(lock, ready, child_pid) -> None:
    with lock:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        child_pid.value = pid
        ready.set()
        signal.pause()


@pytest.mark.parametrize("kind", LOCKS)
def test_holder_that_forked_inside_its_body_and_died_is_dead_though_the_child_lives(kind):
    lock, ready, child_pid = LOCKS[kind](), cmp.Event(), cmp.RawValue("i")
    holder = cmp.Process(target=fork_inside, args=(lock, ready, child_pid))
    holder.start()
    assert ready.wait(100)
    kill(holder)
    os.kill(child_pid.value, 0)  # it is there
    try:
        with pytest.warns(AbandonedLockWarning, match=str(holder.pid)), lock:
            pass
        assert lock.acquire(timeout=5)
        lock.release()
    finally:
        os.kill(child_pid.value, signal.SIGKILL)


def die_inside(lock) -> None:
    with lock:
        os.kill(os.getpid(), signal.SIGKILL)


NEWPID, NEWNS, PRIVATE, RECURSIVE = 0x20000000, 0x00020000, 1 << 18, 1 << 14
libc = ctypes.CDLL(None, use_errno=True)


def in_a_pid_namespace() -> None:
    """The body of test_pid_that_is_used_again: pid 1 here, and with the kernel's next pid in hand."""
    assert libc.unshare(NEWPID | NEWNS) == 0
    pid = os.fork()
    if pid != 0:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    assert libc.mount(b"none", b"/", None, ctypes.c_ulong(PRIVATE | RECURSIVE), None) == 0
    assert libc.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(0), None) == 0
    lock = cmp.Lock()
    holder = cmp.Process(target=die_inside, args=(lock,))
    holder.start()
    holder.join()
    time.sleep(0.05)  # start times are counted in hundredths of a second
    while True:
        with open("/proc/sys/kernel/ns_last_pid", "w") as last:
            last.write(str(holder.pid - 1))
        stranger = cmp.Process(target=signal.pause)
        stranger.start()
        if stranger.pid == holder.pid:
            break
        stranger.kill()
        stranger.join()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert lock.acquire(timeout=100), "a stranger with the pid was taken for the holder"
    assert [warning.category for warning in caught] == [AbandonedLockWarning]
    stranger.kill()
    stranger.join()
    os._exit(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")
def test_pid_that_is_used_again_is_not_the_holder():
    alone.run(in_a_pid_namespace)


@pytest.mark.parametrize("kind", LOCKS)
@pytest.mark.parametrize("how", ["acquire", "with", "acquire with timeout"])
def test_take_over_with_warnings_as_errors_leaves_the_lock_free_for_all(kind, how):
    lock = LOCKS[kind]()
    holder = cmp.Process(target=die_inside, args=(lock,))
    holder.start()
    holder.join()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AbandonedLockWarning):
            if how == "with":
                with lock:
                    raise AssertionError("it is held")
            lock.acquire(timeout=100) if "timeout" in how else lock.acquire()
    with pytest.raises((ValueError, AssertionError)):
        lock.release()
    other = cmp.Process(target=take, args=(lock,))
    other.start()
    other.join(100)
    assert other.exitcode == 0


def take(lock) -> None:
    assert lock.acquire(timeout=100)
    lock.release()


def test_rlock_inherited_inside_its_body_is_the_parents():
    lock = cmp.RLock()
    with lock, lock:
        child = cmp.Process(target=cannot_take, args=(lock,))
        child.start()
        child.join(100)
        assert child.exitcode == 0
    child = cmp.Process(target=take, args=(lock,))
    child.start()
    child.join(100)
    assert child.exitcode == 0


def cannot_take(lock) -> None:
    assert not lock.acquire(timeout=0.05)
    with contextlib.suppress(AssertionError, ValueError):
        lock.release()
        raise RuntimeError("a child has released what its parent holds")


def test_rlock_dies_as_deep_as_it_was_held():
    lock = cmp.RLock()
    holder = cmp.Process(target=die_deep, args=(lock,))
    holder.start()
    holder.join()
    with pytest.warns(AbandonedLockWarning), lock, lock:
        pass
    assert lock.acquire(timeout=1)
    lock.release()
    with pytest.raises(AssertionError):
        lock.release()


def die_deep(lock) -> None:
    with lock, lock, lock:
        os.kill(os.getpid(), signal.SIGKILL)


def test_lock_is_released_by_another_thread_and_another_process():
    lock, semaphore = cmp.Lock(), cmp.BoundedSemaphore(1)
    for release in (lock.release, semaphore.release):
        acquire = release.__self__.acquire
        for run in (threading.Thread, cmp.Process):
            assert acquire(timeout=5)
            other = run(target=release)
            other.start()
            other.join()
            assert acquire(timeout=5)
            release()
        with pytest.raises(ValueError):
            release()


@pytest.mark.parametrize("make", [lambda: cmp.Value("i", 0), lambda: cmp.Array("i", 4)])
def test_lock_of_a_value_is_taken_over_from_its_dead_holder(make):
    value = make()
    holder = cmp.Process(target=die_inside, args=(value.get_lock(),))
    holder.start()
    holder.join()
    with pytest.warns(AbandonedLockWarning), value.get_lock():
        value.get_obj()
    with value.get_lock():
        pass


def test_lock_s_parts_outlive_it():
    condition = cmp.Condition(cmp.Lock())
    lock, acquire, view = condition._lock, condition._lock.acquire, condition._lock._semlock
    del condition
    assert acquire() and view._get_value() == 0
    lock.release()
    del lock
    assert acquire() and view._is_mine()
    assert view._count() == 1
    slab_lock = cmp.get_context("spawn").Lock()
    neighbour = cmp.get_context("spawn").Lock()
    del slab_lock
    with neighbour:
        pass


def waits(condition, waiting) -> None:
    with condition:
        waiting.release()
        condition.wait()


def notifies(condition, n: int) -> None:
    with condition:
        condition.notify(n)
        os.kill(os.getpid(), signal.SIGKILL)


def test_waiters_go_on_when_their_notifier_is_killed_before_it_lets_go():
    condition, waiting = cmp.Condition(), cmp.Semaphore(0)
    waiters = [cmp.Process(target=waits, args=(condition, waiting)) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    for _ in waiters:
        assert waiting.acquire(timeout=100)
    with condition:  # all of them wait by now
        pass
    notifier = cmp.Process(target=notifies, args=(condition, 3))
    notifier.start()
    notifier.join()
    for waiter in waiters:
        waiter.join(100)
        assert waiter.exitcode == 0
    with condition:
        condition.notify_all()


@pytest.mark.parametrize("victim", ["waiter", "setter"])
def test_event_goes_on_when_one_of_its_users_is_killed(victim):
    event, there = cmp.Event(), cmp.Semaphore(0)

    def use() -> None:
        there.release()
        while True:
            event.wait(0.001) if victim == "waiter" else (event.set(), event.clear())

    user = cmp.Process(target=use)
    user.start()
    assert there.acquire(timeout=100)
    kill(user)
    event.clear()
    waiter = cmp.Process(target=event.wait)
    waiter.start()
    event.set()
    waiter.join(100)
    assert waiter.exitcode == 0
