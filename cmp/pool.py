"""Pools of worker processes, written in C (cmp._core); here are their names, their errors, and their default size."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.context import ProcessError

from . import queues  # which settles on a pickler, as in the stdlib
from ._core import ApplyResult, IMapIterator, IMapUnorderedIterator, MapResult, Pool
from .handfed import open_up
from .kin import theirs
from .seams import namesake, watch_subclasses

__all__ = ["Pool", "ThreadPool"]

AsyncResult = ApplyResult

_stdlib = theirs("pool")
INIT, RUN, CLOSE, TERMINATE = _stdlib.INIT, _stdlib.RUN, _stdlib.CLOSE, _stdlib.TERMINATE
ThreadPool = _stdlib.ThreadPool
ExceptionWithTraceback, RemoteTraceback = _stdlib.ExceptionWithTraceback, _stdlib.RemoteTraceback
MaybeEncodingError = _stdlib.MaybeEncodingError

_also_here = (IMapIterator, IMapUnorderedIterator, MapResult, queues)  # as in the stdlib
__getattr__ = namesake("pool")
watch_subclasses(Pool)
open_up()


class WorkerLostError(ProcessError):
    """A worker died over a task (or, with words only, a pool could not keep any worker alive).

    pid and exitcode are the worker's (negative: the signal), function is the name of what it ran, seconds how long. pid
    is None if a fork server was killed before it had told of the worker.
    """

    def __init__(self, pid, exitcode=None, function=None, seconds=None):
        if exitcode is None:
            super().__init__(pid)
            self.pid = self.exitcode = self.function = self.seconds = None
            return
        name = function if isinstance(function, str) else _name_of(function)
        super().__init__(pid, exitcode, name, seconds)
        self.pid, self.exitcode, self.function, self.seconds = pid, exitcode, name, seconds

    def __str__(self) -> str:
        if self.exitcode is None:
            return str(self.args[0])
        if self.exitcode < 0:
            try:
                how = f"was ended by {signal.Signals(-self.exitcode).name}"
            except ValueError:
                how = f"was ended by signal {-self.exitcode}"
        else:
            how = f"exited with code {self.exitcode}"
        who = "a worker" if self.pid is None else f"worker {self.pid}"
        return f"{who} {how} while it ran {self.function}, after {self.seconds:.3f} s"


class PoolEndedError(ProcessError):
    """The pool was terminated before this was done."""

    def __init__(self, *args):
        super().__init__(*args or ("the pool was terminated before this was done",))


def _name_of(function: object) -> str:
    name = getattr(function, "__qualname__", None) or repr(function)
    module = getattr(function, "__module__", None)
    return f"{module}.{name}" if module not in (None, "builtins", "__main__") else name


def remote_text(error: BaseException) -> str:
    """The traceback of a task's exception, as RemoteTraceback shows it."""
    return ExceptionWithTraceback(error, error.__traceback__).tb


def sendable(error: BaseException) -> BaseException:
    """What stands for a task's exception in the parent: itself, or words where it would end the program there."""
    if isinstance(error, Exception):
        return error
    return RuntimeError(f"the task raised {type(error).__name__}{error.args!r}")


def default_size() -> int:
    """How many processors this process may use: -X cpu_count, else affinity and the cgroup's quota."""
    if os.environ.get("PYTHON_CPU_COUNT") or "cpu_count" in getattr(sys, "_xoptions", {}):
        return getattr(os, "process_cpu_count", os.cpu_count)() or 1
    count = os.cpu_count() or 1
    try:
        count = min(count, len(os.sched_getaffinity(0)) or count)
    except OSError:  # a sandbox that does not know the call
        pass
    return max(1, min(count, _cgroup_quota() or count))


def _cgroup_quota() -> int | None:
    """The processors that the cgroup (version 2, or 1 as usually mounted) grants, rounded up."""
    try:
        with open("/proc/self/cgroup") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    found = None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            quota = _quota_v2("/sys/fs/cgroup" + path.rstrip("/"))
        elif "cpu" in controllers.split(","):
            quota = _quota_v1("/sys/fs/cgroup/cpu" + path.rstrip("/")) or _quota_v1("/sys/fs/cgroup/cpu")
        else:
            continue
        if quota is not None:
            found = quota if found is None else min(found, quota)
    return found


def _quota_v2(folder: str) -> int | None:
    found = None
    while folder.startswith("/sys/fs/cgroup"):  # a parent's quota holds too
        try:
            with open(folder + "/cpu.max") as file:
                quota, period = file.read().split()
            if quota != "max":
                number = -(-int(quota) // int(period))
                found = number if found is None else min(found, number)
        except (OSError, ValueError):
            pass
        folder = folder.rpartition("/")[0]
    return found


def _quota_v1(folder: str) -> int | None:
    try:
        with open(folder + "/cpu.cfs_quota_us") as quota, open(folder + "/cpu.cfs_period_us") as period:
            return -(-int(quota.read()) // int(period.read())) or None
    except (OSError, ValueError):
        return None
