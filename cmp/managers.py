"""Managers: the stdlib's, whose queues and locks lie in shared memory.

The manager's process exists as in the stdlib, and so do its lists, dicts and namespaces. But what `Queue`, `Lock` and
their like refer to is an object of cmp's in shared memory, and a proxy, wherever it is unpickled on this machine,
fetches the descriptors of that memory once over the manager's authenticated socket (`attach`). From then on it touches
the memory only. A manager with a TCP address serves the stdlib's proxies.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from multiprocessing import context as _stdlib_context
from multiprocessing import managers as _stdlib
from multiprocessing import process, util
from multiprocessing.managers import BaseProxy, PoolProxy, dispatch, public_methods
from multiprocessing.reduction import ForkingPickler
from types import SimpleNamespace
from weakref import WeakValueDictionary

from . import _core
from .context import _default_context
from .pool import Pool

__all__ = list(_stdlib.__all__)

# Under the alias pickle looks the stdlib's classes up here, and has to find the same objects.
globals().update(
    (name, value) for name, value in vars(_stdlib).items() if getattr(value, "__module__", None) == _stdlib.__name__
)

# ---- an object of cmp's on its way over a socket --------------------------------------------------------------

_arriving = threading.local()  # .descriptors: what came with the pickle that this thread is loading


class _Carried:
    """A descriptor inside such a pickle: the number it has among those that come along."""

    def __init__(self, index: int):
        self.index = index

    def detach(self) -> int:
        """The descriptor, now the caller's."""
        return _arriving.descriptors.pop(self.index)


class _Parcel:
    """Stands in for a process being started while an object is pickled: it travels as to a spawned child."""

    DupFd = _Carried

    def __init__(self, obj: object):
        self.descriptors: list[int] = []
        spawning = _stdlib_context.get_spawning_popen()
        _stdlib_context.set_spawning_popen(self)
        try:
            self.pickle = bytes(ForkingPickler.dumps(obj))
        finally:
            _stdlib_context.set_spawning_popen(spawning)

    def duplicate_for_child(self, fd: int) -> int:
        self.descriptors.append(fd)
        return len(self.descriptors) - 1


def _unpack(pickle: bytes, descriptors: tuple[int, ...]) -> object:
    _arriving.descriptors = dict(enumerate(descriptors))
    try:
        return ForkingPickler.loads(pickle)
    finally:
        for fd in _arriving.descriptors.values():
            os.close(fd)
        del _arriving.descriptors


# ---- the manager's process ------------------------------------------------------------------------------------


class _Clients:
    """Which process holds how many references to what, so that those of a killed one can be given back.

    Only processes of this machine are known; a remote client's references stay, as in the stdlib, if it is killed.
    """

    def __init__(self, give_back: Callable[[str], None]):
        self._give_back = give_back
        self._lock = threading.Lock()
        self._held: dict[int, tuple[int, Counter[str]]] = {}  # by pid: pidfd (-1: none to be had) and count by ident
        self._pids: dict[int, int] = {}  # by pidfd
        self._ended = select.epoll()
        threading.Thread(target=self._bury, daemon=True).start()

    @staticmethod
    def _pid(c) -> int | None:
        """Who speaks; None if it is not known, or this process itself."""
        if c is None:
            return None
        speaker = socket.socket(fileno=c.fileno())
        try:
            if speaker.family != socket.AF_UNIX:
                return None
            return struct.unpack("3i", speaker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        finally:
            speaker.detach()

    def took(self, c, ident: str) -> None:
        pid = self._pid(c)
        if pid is None:
            return
        with self._lock:
            fd, held = self._held.get(pid, (-1, Counter()))
            held[ident] += 1
            if pid in self._held:
                return
            self._held[pid] = fd, held
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:  # killed already
                gone = True
            except (OSError, AttributeError):  # no descriptor to be had: it is trusted to say so when it ends
                gone = False
            else:
                gone = False
                self._held[pid] = fd, held
                self._pids[fd] = pid
                self._ended.register(fd, select.EPOLLIN)
        if gone:
            self._forget(pid)

    def gave(self, c, ident: str) -> bool:
        """False: it was given back before, for this process was found dead."""
        pid = self._pid(c)
        if pid is None:
            return True
        with self._lock:
            fd, held = self._held.get(pid, (-1, Counter()))
            if held[ident] == 0:
                return False
            held[ident] -= 1
            if held[ident] == 0:
                del held[ident]
            if not held:
                self._close(pid)
        return True

    def _close(self, pid: int) -> Counter[str]:
        fd, held = self._held.pop(pid, (-1, Counter()))
        if fd >= 0:
            del self._pids[fd]
            os.close(fd)
        return held

    def _forget(self, pid: int) -> None:
        with self._lock:
            held = self._close(pid)
        for ident in held.elements():
            self._give_back(ident)

    def _bury(self) -> None:
        while True:
            for fd, _ in self._ended.poll():
                with self._lock:
                    pid = self._pids.get(fd)
                if pid is not None:
                    self._forget(pid)


_SHARED = (_core.ManagedQueue, _core.SemLock, _core.Condition, _core.Event, _core.Barrier)


class Server(_stdlib.Server):
    """The stdlib's server, which can also hand out what it keeps in shared memory."""

    public = [*_stdlib.Server.public, "attach"]

    def __init__(self, *args):
        super().__init__(*args)
        self._life = _core.Life()
        self._life.begin()
        self._clients = _Clients(partial(super().decref, None))

    def incref(self, c, ident):
        super().incref(c, ident)
        self._clients.took(c, ident)

    def decref(self, c, ident):
        if self._clients.gave(c, ident):
            super().decref(c, ident)

    def attach(self, c, ident):
        """incref(), and the object itself with the manager's life, for a client that can receive descriptors."""
        self.incref(c, ident)
        try:
            referent = self.id_to_obj[ident][0]
            if not isinstance(referent, _SHARED) or isinstance(self.address, tuple):
                c.send(("#RETURN", None))
                return
            parcel = _Parcel((referent, self._life))
            c.send(("#RETURN", (parcel.pickle, len(parcel.descriptors))))
            _core.send_descriptors(c.fileno(), tuple(parcel.descriptors))
        except OSError:
            self.decref(c, ident)  # the client has gone, or one of us is out of descriptors
            raise

    def shutdown(self, c):
        self._life.close()
        for referent, *_ in list(self.id_to_obj.values()):
            if isinstance(referent, _core.ManagedQueue):
                referent._disturb()
        super().shutdown(c)


# ---- proxies --------------------------------------------------------------------------------------------------


class _Attached:
    """An object of a manager as this process has it: attached once, used by all its proxies here.

    The manager counts it once for each process, and gets that reference back when the process has done with it.
    """

    def __init__(self, shared: object, life: _core.Life, knock: partial[None]):
        self.shared = shared
        self.life = life
        self.knock = knock
        self._counted_in = 0  # the process that has the reference: a forked child inherits this, but not that
        if isinstance(shared, _core.ManagedQueue):
            shared._watch(life, knock)
        else:
            _core.watch(shared, life)
            if isinstance(shared, _core.Condition):
                _core.watch(shared._lock, life)

    def is_counted(self) -> bool:
        return self._counted_in == os.getpid()

    def count(self, give_back: tuple[object, ...]) -> None:
        """The manager has counted it for this process; `give_back` are BaseProxy._decref's arguments."""
        self._counted_in = os.getpid()
        util.Finalize(self, BaseProxy._decref, args=give_back, exitpriority=10)

    def call(self, name: str, args: tuple[object, ...], kwds: dict[str, object]) -> object:
        """A method of a lock or the like; when the manager is gone, what the stdlib's proxy would raise."""
        if not self.life.is_on():
            self.knock()
        return getattr(self.shared, name)(*args, **kwds)


_attached: WeakValueDictionary[tuple[str, str], _Attached] = WeakValueDictionary()  # by address and ident

# The latest of those that came in a pickle. A worker gets a queue with each task and drops it with the task; two
# conversations with the manager for each would cost more than the task.
_kept: dict[tuple[str, str], _Attached] = {}
_KEPT_MOST = 16

# Who has started a manager drops what he drops at once.
_started_here: WeakValueDictionary[tuple[int, str], BaseManager] = WeakValueDictionary()


def _keep_for_the_next(key: tuple[str, str], attached: _Attached) -> None:
    if (os.getpid(), key[0]) in _started_here:
        return
    _kept.pop(key, None)
    _kept[key] = attached
    for other in list(_kept):
        if len(_kept) > _KEPT_MOST or not _kept[other].life.is_on():
            _kept.pop(other, None)


def _knock(client, address, authkey) -> None:
    """Connects to a manager that is gone, which raises."""
    client(address, authkey=authkey).close()
    raise EOFError("the manager has ended")


class SharedProxy(BaseProxy):
    """A proxy that works on the object itself, where this process can have it."""

    def __init__(
        self,
        token,
        serializer,
        manager=None,
        authkey=None,
        exposed=None,
        incref=True,
        manager_owned=False,
        shared=None,
    ):
        self._attached = None
        super().__init__(token, serializer, manager, authkey, exposed, incref, manager_owned)
        if shared is not None:  # a spawned child takes no reference, so what it needs came with the pickle
            self._keep(*shared)
        if manager is None and self._attached is not None:
            _keep_for_the_next((self._token.address, self._id), self._attached)

    def _incref(self):
        if self._attached is None and not self._owned_by_manager:
            self._attached = _attached.get((self._token.address, self._id))
            if self._attached is None and not isinstance(self._token.address, tuple):
                return self._attach()
        if self._attached is None:
            return super()._incref()
        if not self._attached.is_counted():
            conn = self._Client(self._token.address, authkey=self._authkey)
            try:
                dispatch(conn, None, "incref", (self._id,))
            finally:
                conn.close()
            self._counted()

    def _counted(self) -> None:
        state = self._manager and self._manager._state
        if hasattr(self, "_all_serials"):  # newer Pythons count a process's proxies, not what they refer to
            self._all_serials.add(self._serial)
            give_back = self._token, self._serial, self._authkey, state, self._tls, self._all_serials, self._Client
        else:
            self._idset.add(self._id)
            give_back = self._token, self._authkey, state, self._tls, self._idset, self._Client
        if self._attached is not None:
            self._attached.count(give_back)
        else:
            self._close = util.Finalize(self, BaseProxy._decref, args=give_back, exitpriority=10)

    def _attach(self) -> None:
        """_incref() and, on the same connection, the object."""
        conn = self._Client(self._token.address, authkey=self._authkey)
        try:
            parcel = dispatch(conn, None, "attach", (self._id,))
            try:
                if parcel is not None:
                    pickle, count = parcel
                    self._keep(*_unpack(pickle, _core.receive_descriptors(conn.fileno(), count)))
            finally:
                self._counted()
        finally:
            conn.close()

    def _keep(self, shared: object, life: _core.Life) -> None:
        knock = partial(_knock, self._Client, self._token.address, self._authkey)
        attached = _Attached(shared, life, knock)
        self._attached = _attached.setdefault((self._token.address, self._id), attached)

    @property
    def _referent(self) -> object | None:
        """The object itself: in a client that has it, and in the manager."""
        if self._owned_by_manager:
            return process.current_process()._manager_server.id_to_obj[self._id][0]
        return self._attached and self._attached.shared

    def _callmethod(self, methodname, args=(), kwds={}):
        if self._attached is None or methodname not in self._exposed_:
            return super()._callmethod(methodname, args, kwds)
        return self._attached.call(methodname, args, kwds)

    def __reduce__(self):
        rebuild, (func, token, serializer, kwds) = super().__reduce__()
        if self._attached is not None and _stdlib_context.get_spawning_popen() is not None:
            kwds["shared"] = self._attached.shared, self._attached.life
        return rebuild, (func, token, serializer, kwds)


class QueueProxy(SharedProxy, _core.ManagedQueue):
    """A manager's queue: itself a queue over the same shared memory, so its methods are in C."""

    _exposed_ = tuple(public_methods(_core.ManagedQueue()))

    def __init__(self, *args, **kwds):
        super().__init__(*args, **kwds)
        referent = self._referent
        if referent is not None:
            self._adopt(referent)
        else:
            for name in self._exposed_:
                setattr(self, name, partial(self._remote, name))

    def _remote(self, name, /, *args, **kwds):
        return self._callmethod(name, args, kwds)

    def __repr__(self):
        return f"<AutoProxy[{self._token.typeid}] object, typeid {self._token.typeid!r} at {id(self):#x}>"


class AcquirerProxy(SharedProxy, _stdlib.AcquirerProxy):
    """A manager's lock or semaphore."""

    def __enter__(self):
        return self._callmethod("__enter__" if self._attached else "acquire")

    def __exit__(self, exc_type, exc_val, exc_tb):
        if self._attached:
            return self._callmethod("__exit__", (exc_type, exc_val, exc_tb))
        return self._callmethod("release")

    def locked(self):
        """Could nobody take it now? The stdlib's has this from 3.14 on."""
        return self._callmethod("locked")

    _exposed_ = ("acquire", "release", "locked", "__enter__", "__exit__")


class ConditionProxy(AcquirerProxy, _stdlib.ConditionProxy):
    """A manager's condition."""

    _exposed_ = (*AcquirerProxy._exposed_, "wait", "notify", "notify_all")


class EventProxy(SharedProxy, _stdlib.EventProxy):
    """A manager's event."""


class BarrierProxy(SharedProxy, _stdlib.BarrierProxy):
    """A manager's barrier."""


# ---- managers -------------------------------------------------------------------------------------------------


class BaseManager(_stdlib.BaseManager):
    """The stdlib's, whose process starts as cmp's context says."""

    _Server = Server

    def __init__(self, address=None, authkey=None, serializer="pickle", ctx=None, *, shutdown_timeout=1.0):
        super().__init__(address, authkey, serializer, ctx or _default_context.get_context())
        self._shutdown_timeout = shutdown_timeout

    def start(self, initializer=None, initargs=()):
        """Starts the manager's process, which ends when this one does, however that ends."""

        def process(*args, **kwds):
            made = context.Process(*args, **kwds)
            made._lifeline = True
            return made

        context = self._ctx
        self._ctx = SimpleNamespace(Process=process)
        try:
            super().start(initializer, initargs)
        finally:
            self._ctx = context
        _started_here[os.getpid(), self._address] = self


class SyncManager(BaseManager, _stdlib.SyncManager):
    """A manager whose queues and locks lie in shared memory."""


class SharedMemoryManager(BaseManager, _stdlib.SharedMemoryManager):
    """The stdlib's, started by cmp."""

    _Server = _stdlib.SharedMemoryServer


_slabs = _default_context.get_context("spawn")  # whose locks can be handed to strangers


class ManagedLock(_core.Lock):
    """A Lock that complains as threading's does."""

    def release(self):
        try:
            super().release()
        except ValueError:
            raise RuntimeError("release unlocked lock") from None


class ManagedRLock(_core.RLock):
    """An RLock that complains as threading's does."""

    def release(self):
        try:
            super().release()
        except AssertionError:
            raise RuntimeError("cannot release un-acquired lock") from None


def _condition(lock=None) -> object:
    return _slabs.Condition(lock._referent if isinstance(lock, SharedProxy) else lock)


SyncManager.register("Queue", _core.ManagedQueue, QueueProxy)
SyncManager.register("JoinableQueue", _core.ManagedQueue, QueueProxy)
SyncManager.register("Event", _slabs.Event, EventProxy)
SyncManager.register("Lock", partial(ManagedLock, ctx=_slabs), AcquirerProxy)
SyncManager.register("RLock", partial(ManagedRLock, ctx=_slabs), AcquirerProxy)
SyncManager.register("Semaphore", _slabs.Semaphore, AcquirerProxy)
SyncManager.register("BoundedSemaphore", _slabs.BoundedSemaphore, AcquirerProxy)
SyncManager.register("Condition", _condition, ConditionProxy)
SyncManager.register("Barrier", _slabs.Barrier, BarrierProxy)
SyncManager.register("Pool", Pool, PoolProxy)
