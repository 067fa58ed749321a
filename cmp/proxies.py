"""What a manager's clients hold: proxies of the stdlib's kinds, which reach the object itself where they can.

A proxy, wherever it is unpickled on the manager's machine, fetches the descriptors of the object's memory once over
the manager's authenticated socket (`attach`), and from then on touches that memory only.
"""

from __future__ import annotations

import os
import threading
from functools import partial
from multiprocessing import process, util
from types import SimpleNamespace
from weakref import WeakValueDictionary

from . import _core, heirs, readiness
from .carried import unpack
from .kin import theirs

__all__ = [
    "AcquirerProxy",
    "BarrierProxy",
    "ConditionProxy",
    "EventProxy",
    "QueueProxy",
    "SharedProxy",
    "started_here",
]

_stdlib, _stdlib_context = theirs("managers"), theirs("context")
BaseProxy, dispatch, public_methods = _stdlib.BaseProxy, _stdlib.dispatch, _stdlib.public_methods


def _forget_connections() -> None:
    """In a child, by whatever it was forked: a proxy's connection stays its parent's, whose answers come on it."""
    for local, _ in BaseProxy._address_to_local.values():
        local.__dict__.clear()


os.register_at_fork(after_in_child=_forget_connections)
heirs.free_at_fork(BaseProxy._mutex)


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

    def is_current(self) -> bool:
        """Whether a newcomer with the same ident means this object. Of one that this process (a forked or spawned
        child, maybe) has no reference to the manager may have disposed, and given its ident to another."""
        return self.is_counted() and self.life.is_on()

    def count(self, give_back: tuple[object, ...]) -> None:
        """The manager has counted it for this process; `give_back` are BaseProxy._decref's arguments."""
        self._counted_in = os.getpid()
        util.Finalize(self, _give_back, args=(self.life, *give_back), exitpriority=10)

    def call(self, name: str, args: tuple[object, ...], kwds: dict[str, object]) -> object:
        """A method of a lock or the like; when the manager is gone, what the stdlib's proxy would raise."""
        if not self.life.is_on():
            self.knock()
        return getattr(self.shared, name)(*args, **kwds)


def _give_back(life, *args) -> None:
    """BaseProxy._decref, but a manager that has ended, and perhaps has a successor at its address, is not asked."""
    *which, state, tls, known, client = args
    BaseProxy._decref(*which, state if life.is_on() else _ENDED, tls, known, client)


_ENDED = SimpleNamespace(value=_stdlib.State.SHUTDOWN)

_attached: WeakValueDictionary[tuple[str, str], _Attached] = WeakValueDictionary()  # by address and ident

# The latest of those that came in a pickle. A worker gets a queue with each task and drops it with the task; two
# conversations with the manager for each would cost more than the task.
_kept: dict[tuple[str, str], _Attached] = {}
_KEPT_MOST = 16

# Who has started a manager drops what he drops at once.
started_here: WeakValueDictionary[tuple[int, str], _stdlib.BaseManager] = WeakValueDictionary()


def _current(key: tuple[str, str]) -> _Attached | None:
    known = _attached.get(key)
    return known if known is not None and known.is_current() else None


def _keep_for_the_next(key: tuple[str, str], attached: _Attached) -> None:
    if (os.getpid(), key[0]) in started_here:
        return
    _kept.pop(key, None)
    _kept[key] = attached
    for other in list(_kept):
        kept = _kept.get(other)  # other threads do the same
        if kept is not None and (len(_kept) > _KEPT_MOST or not kept.life.is_on()):
            _kept.pop(other, None)


def _knock(client, address, authkey) -> None:
    """Connects to a manager that is gone, which raises."""
    client(address, authkey=authkey).close()
    raise EOFError("the manager has ended")


def _receive(fd: int, count: int) -> tuple[int, ...]:
    while True:
        try:
            return _core.receive_descriptors(fd, count)
        except BlockingIOError:
            if os.get_blocking(fd):  # it has waited
                raise
            readiness.until_readable(fd)  # as eventlet has made it


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
            self._attached = _current((self._token.address, self._id))
            if self._attached is None and self._can_attach():
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

    def _can_attach(self) -> bool:
        return not isinstance(self._token.address, tuple) and self._serializer == "pickle"

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
            try:
                parcel = dispatch(conn, None, "attach", (self._id,))
            except _stdlib.RemoteError as error:
                if "'attach' unrecognized" not in str(error):
                    raise
                return super()._incref()  # a server of the stdlib's
            try:
                if parcel is not None:
                    pickle, count = parcel
                    self._keep(*unpack(pickle, _receive(conn.fileno(), count)))
            finally:
                self._counted()
        finally:
            conn.close()

    def _keep(self, shared: object, life: _core.Life) -> None:
        knock = partial(_knock, self._Client, self._token.address, self._authkey)
        key = self._token.address, self._id
        self._attached = _current(key)
        if self._attached is None:
            self._attached = _attached[key] = _Attached(shared, life, knock)

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


# ---- proxies in queues ----

# As long as a proxy lies in a queue of a manager's, nobody may have its object but that item. The stdlib's manager
# takes the item, and with it the proxy, into its own process; here the item holds a reference, from its put to its get.

_sent = threading.local()  # .proxies: by the put that this thread is at


def _tell(proxy: BaseProxy, what: str) -> bool:
    """False: its manager does not know of such things, or is gone."""
    try:
        conn = proxy._Client(proxy._token.address, authkey=proxy._authkey)
        try:
            dispatch(conn, None, what, (proxy._id,))
        finally:
            conn.close()
    except (OSError, EOFError, _stdlib_context.AuthenticationError):
        return False
    except _stdlib.RemoteError as error:
        util.debug("%s: %s", what, error)
        return False
    return True


def _send_off(proxy: BaseProxy) -> tuple[object, ...]:
    rebuild, args = proxy.__reduce__()
    if proxy._owned_by_manager or not _tell(proxy, "send_off"):
        return rebuild, args
    _sent.__dict__.setdefault("proxies", []).append(proxy)
    return _arrive, (rebuild, args)


def _arrive(rebuild, args) -> BaseProxy:
    proxy = rebuild(*args)
    _tell(proxy, "land")
    return proxy


def _settle(put: bool) -> None:
    """What was sent off is on its way now, or it is not."""
    for proxy in _sent.__dict__.pop("proxies", ()):
        if not put:
            _tell(proxy, "land")


_core._carry_proxies(BaseProxy, _send_off, _settle)


# ---- the kinds of proxies ----


class QueueProxy(SharedProxy, _core.ManagedQueue):
    """A manager's queue: itself a queue over the same shared memory, so its methods are in C."""

    _exposed_ = tuple(public_methods(_core.ManagedQueue))

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
