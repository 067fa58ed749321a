"""Each system call that each work makes, refused once: a clear error or none, nothing left behind, and it goes on."""

from __future__ import annotations

import errno
import sys
import traceback

import pytest
from support import alone, failing, works

# What the calls give when something has run out or a sandbox refuses.
REFUSALS = {
    "memfd_create": errno.EMFILE,
    "eventfd": errno.EMFILE,
    "mmap": errno.ENOMEM,
    "madvise": errno.EINVAL,
    "ftruncate": errno.ENOSPC,
    "fallocate": errno.EOPNOTSUPP,
    "pwrite": errno.ENOSPC,
    "fcntl": errno.EPERM,
    "fork": errno.EAGAIN,
    "pipe2": errno.EMFILE,
    "socket": errno.EMFILE,
    "recvmsg": errno.ENOMEM,
    "epoll_create1": errno.EMFILE,
    "pidfd_open": errno.EMFILE,
    "pthread_create": errno.EAGAIN,
    "poll": errno.ENOMEM,
    "ppoll": errno.ENOMEM,
    "prctl": errno.EPERM,
}
# A new thread whose first allocation is refused dies unheard, and threading.Thread.start() waits for it for ever: also
# without cmp. So where threads are started memory is refused to the other calls only.
STARTS_THREADS = {"pool", "pool_closed", "pool_of_one_task_workers", "imap", "large_results", "manager"}
MOST = 12


def refuse_one_after_the_other(name: str) -> None:
    work = works.WORKS[name]
    work()
    with alone.NothingLeft():
        for call, error in REFUSALS.items():
            if call == "mmap" and name in STARTS_THREADS:
                continue
            for after in range(MOST):
                print(f"{name}: {call} {after}", file=sys.stderr, flush=True)
                with failing.failing(call, error, after) as refused:
                    try:
                        work()
                    except (OSError, MemoryError, RuntimeError) as problem:
                        assert refused_is_named(problem, error), traceback.format_exc()
                if refused.hits == 0:
                    break
                work()


def refused_is_named(problem: Exception, error: int) -> bool:
    if isinstance(problem, OSError):
        return problem.errno == error
    return isinstance(problem, MemoryError) or "can't start new thread" in str(problem)


@pytest.mark.parametrize("name", works.WORKS)
def test_refused_call_is_a_clear_error_and_leaves_nothing(name):
    alone.run(refuse_one_after_the_other, name, env=failing.environment())


CHILD_REFUSALS = {"mmap": errno.ENOMEM, "prctl": errno.EPERM, "pidfd_open": errno.EMFILE, "memfd_create": errno.EMFILE}


def refuse_in_children(name: str) -> None:
    work = works.WORKS[name]
    work()
    with alone.NothingLeft():
        for call, error in CHILD_REFUSALS.items():
            for after in range(4):
                print(f"{name}: {call} {after} in children", file=sys.stderr, flush=True)
                with failing.failing(call, error, after, in_children=True):
                    try:
                        work()
                    except (OSError, MemoryError, RuntimeError):
                        pass
                work()


@pytest.mark.parametrize("name", ["process", "pool", "pool_closed", "pool_of_one_task_workers", "imap"])
def test_call_refused_in_a_child_hangs_nobody(name):
    alone.run(refuse_in_children, name, env=failing.environment())
