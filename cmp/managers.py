"""Managers: the stdlib's, whose queues and locks lie in shared memory.

The manager's process exists as in the stdlib (server.py), and so do its lists, dicts and namespaces. But what `Queue`,
`Lock` and their like refer to is an object of cmp's in shared memory, which proxies reach directly (proxies.py). A
manager with a TCP address serves the stdlib's proxies.
"""

from __future__ import annotations

import inspect
import os
import tempfile
import weakref
from functools import partial
from multiprocessing import connection, util
from multiprocessing import process as _process
from types import SimpleNamespace

from . import _core, clients, heirs
from .context import _default_context
from .kin import theirs
from .managed import ManagedBoundedSemaphore, ManagedCondition, ManagedLock, ManagedRLock, ManagedSemaphore
from .pool import Pool
from .proxies import AcquirerProxy, BarrierProxy, ConditionProxy, EventProxy, QueueProxy, SharedProxy, started_here
from .seams import namesake
from .server import Server, SharedMemoryServer

_stdlib = theirs("managers")
PoolProxy = _stdlib.PoolProxy

__all__ = list(_stdlib.__all__)

# Under the alias pickle looks the stdlib's classes up here, and has to find the same objects.
_names = vars(_stdlib).items()
globals().update((n, v) for n, v in _names if getattr(v, "__module__", None) == _stdlib.__name__ and n not in globals())
__getattr__ = namesake("managers")

# Managers and proxies look up here how they connect, the standard library's own among them.
_listener, _ = _stdlib.listener_client["pickle"]
_stdlib.listener_client["pickle"] = _listener, clients.client

# The manager's process makes a folder for its socket, whatever another thread of its parent was doing with tempfile.
heirs.free_at_fork(tempfile._once_lock)

# ---- the end of a manager ----

_TAKES_A_TIMEOUT = "shutdown_timeout" in inspect.signature(_stdlib.BaseManager._finalize_manager).parameters


def _remove_folder_of_killed(address) -> None:
    """The socket of a manager that had no time to remove it, and the folder it had made for that."""
    folder = os.path.dirname(address) if isinstance(address, str) else ""
    if not os.path.basename(folder).startswith("pymp-"):
        return
    try:
        os.unlink(address)
        if folder != _process.current_process()._config.get("tempdir"):
            os.rmdir(folder)
    except OSError:
        pass


def _close_in_others(owner: weakref.ref, what, conn) -> None:
    """In a process that another thread starts meanwhile; who closes it at that moment has closed it already, maybe, and
    does not know yet. The owner has `conn` among its arguments: held here, the two would keep each other."""
    if _process.current_process() is not owner() and not conn.closed and heirs.identity(conn.fileno()) == what:
        conn.close()


class BaseManager(_stdlib.BaseManager):
    """The stdlib's, whose process starts as cmp's context says."""

    _Server = Server

    def __init__(self, address=None, authkey=None, serializer="pickle", ctx=None, *, shutdown_timeout=1.0):
        super().__init__(address, authkey, serializer, ctx or _default_context.get_context())
        self._shutdown_timeout = shutdown_timeout

    def get_server(self):
        """The server, for a process that is to be the manager itself."""
        if self._state.value == _stdlib.State.INITIAL:
            return self._Server(self._registry, self._address, self._authkey, self._serializer)
        return super().get_server()  # which raises

    def start(self, initializer=None, initargs=()):
        """Starts the manager's process, which ends when this one does, however that ends."""

        def process(*args, **kwds):
            made = context.Process(*args, **kwds)
            made._lifeline = True
            begun.append(made)
            for told in kwds.get("args", ()):  # by which it tells its address; or, when it has died, that it never will
                if isinstance(told, connection.Connection):
                    what = heirs.identity(told.fileno())
                    util.register_after_fork(told, partial(_close_in_others, weakref.ref(made), what))
            return made

        begun = []
        context = self._ctx
        self._ctx = SimpleNamespace(Process=process)
        try:
            super().start(initializer, initargs)
        except BaseException:  # Ctrl-C, say, before it has told its address: nobody could end it later
            for made in begun:
                if made.pid is not None:
                    made.kill()
                    made.join()
            raise
        finally:
            self._ctx = context
        started_here[os.getpid(), self._address] = self

    @staticmethod
    def _finalize_manager(process, address, authkey, state, _Client, shutdown_timeout=1.0):
        """The stdlib's, which does not wait for a manager that stands still, and ends it whatever it does."""
        if _Client is clients.client:
            _Client = partial(clients.client_in_time, shutdown_timeout)
        limit = (shutdown_timeout,) if _TAKES_A_TIMEOUT else ()
        try:
            _stdlib.BaseManager._finalize_manager(process, address, authkey, state, _Client, *limit)
        finally:  # also after Ctrl-C: nobody could end it later, and the program's end would wait for it
            if process.is_alive():
                process.kill()
                process.join()
            _remove_folder_of_killed(address)


class SyncManager(BaseManager, _stdlib.SyncManager):
    """A manager whose queues and locks lie in shared memory."""


class SharedMemoryManager(BaseManager, _stdlib.SharedMemoryManager):
    """The stdlib's, started by cmp."""

    _Server = SharedMemoryServer


_slabs = _default_context.get_context("spawn")  # whose locks can be handed to strangers


def _condition(lock=None) -> ManagedCondition:
    if lock is None:
        lock = ManagedRLock(ctx=_slabs)
    return ManagedCondition(lock._referent if isinstance(lock, SharedProxy) else lock, ctx=_slabs)


SyncManager.register("Queue", _core.ManagedQueue, QueueProxy)
SyncManager.register("JoinableQueue", _core.ManagedQueue, QueueProxy)
SyncManager.register("Event", _slabs.Event, EventProxy)
SyncManager.register("Lock", partial(ManagedLock, ctx=_slabs), AcquirerProxy)
SyncManager.register("RLock", partial(ManagedRLock, ctx=_slabs), AcquirerProxy)
SyncManager.register("Semaphore", partial(ManagedSemaphore, ctx=_slabs), AcquirerProxy)
SyncManager.register("BoundedSemaphore", partial(ManagedBoundedSemaphore, ctx=_slabs), AcquirerProxy)
SyncManager.register("Condition", _condition, ConditionProxy)
SyncManager.register("Barrier", _slabs.Barrier, BarrierProxy)
SyncManager.register("Pool", Pool, PoolProxy)
