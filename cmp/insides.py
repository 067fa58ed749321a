"""Subclasses that lean on the insides of the standard library's queues and pools.

loky, PyTorch and others derive from `multiprocessing.queues.Queue` and go on with what lies beneath it there: the ends
of its pipe, the locks beside them, its feeder thread. cmp's queues have none of that, and its Pool has no handler
threads. So a class that overrides or names such insides gets the standard library's implementation beneath it, in
front of cmp's: it works as it was written, at the standard library's speed and with its faults.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator

from .context import _default_context
from .kin import theirs

__all__ = ["settle"]

pool, queues = theirs("pool"), theirs("queues")

# What such classes ask for and cmp's have not.
_PIPE = {"_rlock", "_wlock", "_recv_bytes", "_send_bytes", "_recv", "_send", "_make_methods"}
_FEEDER = {"_after_fork", "_buffer", "_feed", "_finalize_close", "_finalize_join", "_jointhread", "_joincancelled"}
_FEEDER |= {"_notempty", "_opid", "_reset", "_sem", "_start_thread", "_thread"}
_TASKS = {"_change_notifier", "_get_tasks", "_guarded_task_generation", "_inqueue", "_map_async", "_outqueue"}
_TASKS |= {"_quick_get", "_quick_put", "_setup_queues", "_taskqueue", "_wrap_exception"}
_HANDLERS = {"_handle_results", "_handle_tasks", "_handle_workers", "_help_stuff_finish", "_join_exited_workers"}
_HANDLERS |= {"_maintain_pool", "_repopulate_pool", "_repopulate_pool_static", "_result_handler", "_task_handler"}
_HANDLERS |= {"_terminate_pool", "_wait_for_updates", "_worker_handler"}


class _PipeQueue(queues.Queue):
    """The standard library's, whose attributes cmp's read-only ones would hide."""

    _reader = _writer = _maxsize = _ignore_epipe = _closed = None


class _PipeJoinableQueue(_PipeQueue, queues.JoinableQueue):
    pass


class _PipeSimpleQueue(queues.SimpleQueue):
    _reader = _writer = None


class _HandledPool(pool.Pool):
    _pool = _state = _ctx = _processes = _initializer = _initargs = _maxtasksperchild = _terminate = _cache = None
    _taskqueue = None

    def __init__(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None, context=None):
        super().__init__(processes, initializer, initargs, maxtasksperchild, context or _default_context.get_context())

    def _setup_queues(self) -> None:
        self._inqueue, self._outqueue = (queues.SimpleQueue(ctx=self._ctx) for _ in range(2))
        self._quick_put = self._inqueue._writer.send
        self._quick_get = self._outqueue._reader.recv


_BENEATH = {
    "Queue": (_PipeQueue, _PIPE | _FEEDER),
    "JoinableQueue": (_PipeJoinableQueue, _PIPE | _FEEDER | {"_unfinished_tasks", "_cond"}),
    "SimpleQueue": (_PipeSimpleQueue, _PIPE),
    "Pool": (_HandledPool, _TASKS | _HANDLERS),
}


def settle(cls: type, derived: type) -> None:
    """Gives a class that was just derived from cmp's the standard library's beneath it, if it leans on that."""
    beneath, insides = _BENEATH[cls.__name__]
    if cls in derived.__bases__ and not insides.isdisjoint({*vars(derived), *_names(vars(derived).values())}):
        at = derived.__bases__.index(cls)
        derived.__bases__ = (*derived.__bases__[:at], beneath, *derived.__bases__[at:])


def _names(members: Iterable[object]) -> Iterator[str]:
    """The attributes (among other names) that the methods in a class's dict ask for, and their inner functions."""
    for member in members:
        if isinstance(member, property):
            yield from _names((member.fget, member.fset))
        code = member if isinstance(member, types.CodeType) else getattr(member, "__code__", None)
        code = code or getattr(getattr(member, "__func__", None), "__code__", None)
        if code is not None:
            yield from code.co_names
            yield from _names(code.co_consts)
