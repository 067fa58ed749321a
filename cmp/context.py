"""Contexts: the stdlib's, whose methods give cmp's objects. The default start method is fork on every Python.

A start method that is set here is set for the stdlib too, and one that was set there is followed, so that a program
using both has one. Their defaults stay their own.
"""

from functools import cached_property
from multiprocessing import context as _stdlib
from multiprocessing import reduction
from multiprocessing.context import (  # noqa: F401  (names that the stdlib's modules look up here)
    AuthenticationError,
    BufferTooShort,
    ProcessError,
    TimeoutError,
    _tls,
    assert_spawning,
    get_spawning_popen,
    set_spawning_popen,
)

from . import _core
from .seams import namesake

__all__ = ()

__getattr__ = namesake("context")


class BaseContext(_stdlib.BaseContext):
    """The stdlib's context with cmp's primitives; what is not a primitive is inherited."""

    def Manager(self):
        """A started manager, whose process serves the objects asked of it."""
        from .managers import SyncManager

        manager = SyncManager(ctx=self.get_context())
        manager.start()
        return manager

    def Lock(self):
        """A lock that any process may release."""
        from .synchronize import Lock

        return Lock(ctx=self.get_context())

    def RLock(self):
        """A lock that its holder may take again."""
        from .synchronize import RLock

        return RLock(ctx=self.get_context())

    def Condition(self, lock=None):
        """A condition variable."""
        from .synchronize import Condition

        return Condition(lock, ctx=self.get_context())

    def Semaphore(self, value=1):
        """A semaphore."""
        from .synchronize import Semaphore

        return Semaphore(value, ctx=self.get_context())

    def BoundedSemaphore(self, value=1):
        """A semaphore that refuses to be released too often."""
        from .synchronize import BoundedSemaphore

        return BoundedSemaphore(value, ctx=self.get_context())

    def Event(self):
        """A flag that processes wait for."""
        from .synchronize import Event

        return Event(ctx=self.get_context())

    def Barrier(self, parties, action=None, timeout=None):
        """A barrier for a number of processes."""
        from .synchronize import Barrier

        return Barrier(parties, action, timeout, ctx=self.get_context())

    def Queue(self, maxsize=0):
        """A queue in shared memory."""
        from .queues import Queue

        return Queue(maxsize, ctx=self.get_context())

    def JoinableQueue(self, maxsize=0):
        """A queue that knows when all its items have been dealt with."""
        from .queues import JoinableQueue

        return JoinableQueue(maxsize, ctx=self.get_context())

    def SimpleQueue(self):
        """A queue with put, get and empty only."""
        from .queues import SimpleQueue

        return SimpleQueue(ctx=self.get_context())

    def Pool(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None):
        """A pool of worker processes."""
        from .pool import Pool

        return Pool(processes, initializer, initargs, maxtasksperchild, context=self.get_context())

    def get_context(self, method=None):
        """This context, or cmp's context for a start method."""
        if method is None:
            return self
        try:
            context = _concrete_contexts[method]
        except KeyError:
            raise ValueError(f"cannot find context for {method!r}") from None
        context._check_available()
        return context


class Process(_core.Process):
    """A process of the default context."""

    _start_method = None

    @staticmethod
    def _Popen(process_obj):
        return _default_context.get_context().Process._Popen(process_obj)

    @staticmethod
    def _after_fork():
        return _default_context.get_context().Process._after_fork()


class DefaultContext(BaseContext):
    """The context behind the functions of the package: fork, unless a start method was set."""

    Process = Process

    def __init__(self, context=None):
        if context is not None:
            self._default_context = context
        self._actual_context = None

    @cached_property
    def _default_context(self):
        """What counts as long as nothing is set; of the class, too, from 3.14 on, so that it can be patched there."""
        return _concrete_contexts["fork"]

    def _chosen(self):
        """What was set, here or else (as far as it can be told from a mere default) at the stdlib; or None."""
        theirs = _stdlib._default_context
        if self._actual_context is not None or theirs._actual_context is None:
            return self._actual_context
        if theirs._actual_context is theirs._default_context:  # asked for last: 3.14 makes a file to find it out
            return None
        return _concrete_contexts[theirs._actual_context._name]

    def get_context(self, method=None):
        """cmp's context for a start method, or for the one that is set, which then stays."""
        if method is not None:
            return super().get_context(method)
        self._actual_context = self._chosen() or self._default_context
        return self._actual_context

    def set_start_method(self, method, force=False):
        """Sets the method by which processes start, once per program (or again, with force)."""
        if self._chosen() is not None and not force:
            raise RuntimeError("context has already been set")
        chosen = None if method is None and force else self.get_context(method)
        self._actual_context = chosen
        _stdlib._default_context.set_start_method(method, force=True)

    def get_start_method(self, allow_none=False):
        """The name of that method; None, with allow_none, as long as none is fixed."""
        if allow_none and self._chosen() is None:
            return None
        return self.get_context()._name

    def get_all_start_methods(self):
        """The start methods there are, the default first."""
        return ["fork", "spawn", "forkserver"] if reduction.HAVE_SEND_HANDLE else ["fork", "spawn"]


class ForkProcess(_core.Process):
    """A process that starts as a copy of its parent."""

    _start_method = "fork"
    _Popen = staticmethod(_core.Popen)


class SpawnProcess(_core.Process):
    """A process that starts in a fresh interpreter."""

    _start_method = "spawn"

    @staticmethod
    def _Popen(process_obj):
        from .launchers import SpawnPopen

        return SpawnPopen(process_obj)

    @staticmethod
    def _after_fork():
        """Nothing was inherited that would have to be made anew."""


class ForkServerProcess(_core.Process):
    """A process that is forked by a server process."""

    _start_method = "forkserver"

    @staticmethod
    def _Popen(process_obj):
        from .launchers import ForkServerPopen

        return ForkServerPopen(process_obj)


class ForkContext(BaseContext):
    _name = "fork"
    Process = ForkProcess


class SpawnContext(BaseContext):
    _name = "spawn"
    Process = SpawnProcess


class ForkServerContext(BaseContext):
    _name = "forkserver"
    Process = ForkServerProcess

    def _check_available(self):
        if not reduction.HAVE_SEND_HANDLE:
            raise ValueError("forkserver start method not available")


_concrete_contexts = {"fork": ForkContext(), "spawn": SpawnContext(), "forkserver": ForkServerContext()}
_default_context = DefaultContext()


def _force_start_method(method: str) -> None:
    """In a child: its own processes start as it did. The stdlib gets to know a method that a program has added."""
    _default_context._actual_context = _concrete_contexts[method]
    _stdlib._concrete_contexts.setdefault(method, _default_context._actual_context)
    _stdlib._force_start_method(method)
