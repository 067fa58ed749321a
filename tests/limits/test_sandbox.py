"""Sandboxes and old kernels that know some system calls not at all: what can do without them does, the rest says so."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
import warnings

import pytest
from support import alone, sandbox, works
from support.waiting import LONG_S

import cmp
from cmp.managers import RemoteError
from cmp.pool import WorkerLostError
from cmp.synchronize import AbandonedLockWarning

# What cmp, the C library or the interpreter use where it is there, and do without where it is not.
OPTIONAL = "pidfd_open madvise fallocate pwrite64 sched_getaffinity prctl close_range".split()
OTHERS = "pidfd_send_signal pidfd_getfd futex_waitv process_vm_readv membarrier sched_yield getcpu".split()
ALONE = [(call, error) for call in OPTIONAL for error in ("ENOSYS", "EPERM")]
ALONE.append(("clone3", "ENOSYS"))  # the C library itself does not do without it where it is forbidden
# What some kinds of work cannot do without. Those that can:
NEEDED = {
    "memfd_create": {"value", "pipe", "process", "process_joined_in_time", "fork_locks"},
    "eventfd2": {"value", "pipe", "process", "process_joined_in_time", "fork_locks", "slab_locks"},
}


def every_work(calls: tuple[str, ...], error: int) -> None:
    sandbox.refuse(error, *calls)
    for name, work in works.WORKS.items():
        print(name, file=sys.stderr, flush=True)
        work()
    with cmp.get_context("spawn").Pool(1) as pool:
        assert pool.apply(abs, (-1,)) == 1
    with cmp.Pool() as pool:  # of its default size
        assert pool.apply(abs, (-1,)) == 1
    deaths_are_noticed()


def deaths_are_noticed() -> None:
    with cmp.Pool(2) as pool:
        lost = pool.apply_async(die)
        try:
            lost.get(LONG_S)
        except WorkerLostError as problem:
            assert problem.exitcode == -signal.SIGKILL
        else:
            raise AssertionError("it lives")
        assert pool.map(abs, range(-9, 0)) == list(range(9, 0, -1))
    lock = cmp.Lock()
    holder = cmp.Process(target=die_inside, args=(lock,))
    holder.start()
    holder.join(LONG_S)
    assert holder.exitcode == -signal.SIGKILL
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert lock.acquire(timeout=LONG_S)
    assert [warning.category for warning in said] == [AbandonedLockWarning]
    queue = cmp.Queue()
    consumer = cmp.Process(target=take_and_wait, args=(queue,))
    consumer.start()
    queue.put(bytes(100_000))
    consumer.join(0.01)
    consumer.kill()
    consumer.join(LONG_S)
    queue.put("last")
    got = queue.get(timeout=LONG_S)
    assert got == "last" or queue.get(timeout=LONG_S) == "last"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_inside(lock) -> None:
    with lock:
        die()


def take_and_wait(queue) -> None:
    queue.get()
    signal.pause()


@pytest.mark.parametrize(("call", "error"), ALONE)
@pytest.mark.timeout(180)
def test_everything_works_without_what_is_optional(call, error):
    sandbox.need()
    alone.run(every_work, (call,), getattr(errno, error))


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
@pytest.mark.timeout(180)
def test_everything_works_without_all_that_is_optional(error):
    sandbox.need()
    clone = ["clone3"] if error == "ENOSYS" else []
    alone.run(every_work, (*OPTIONAL, *OTHERS, *clone), getattr(errno, error))


def each_work_or_an_error(call: str, error: int) -> None:
    sandbox.refuse(error, call)
    failed = set()
    for name in [*works.WORKS, *works.WORKS]:
        print(name, file=sys.stderr, flush=True)
        try:
            works.WORKS[name]()
        except OSError as problem:
            assert problem.errno == error, traceback.format_exc()
            failed.add(name)
        except (EOFError, RemoteError):  # a manager's process, which says more on its stderr
            assert name == "manager", traceback.format_exc()
            failed.add(name)
    assert not failed & NEEDED[call], f"these can do without {call}: {failed & NEEDED[call]}"


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
@pytest.mark.parametrize("call", NEEDED)
def test_what_is_needed_and_not_there_is_a_clear_error_and_no_wait(call, error):
    sandbox.need()
    alone.run(each_work_or_an_error, call, getattr(errno, error))
