"""The manager's process: the stdlib's server, which hands out what it keeps in shared memory.

It is open to whatever connects, so before a peer has shown that it knows the key nothing of it is unpickled, and only
so many can stand at the door; and it outlives its clients, so it notices their deaths and takes back what they held.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from multiprocessing import process, util

from . import _core, heirs, readiness
from .carried import Parcel
from .kin import theirs

__all__ = ["Server", "SharedMemoryServer"]

_stdlib = theirs("managers")


@contextmanager
def _socket_of(c):
    """A connection's socket, for asking and telling; the connection keeps it."""
    sock = socket.socket(fileno=c.fileno())
    try:
        yield sock
    finally:
        sock.detach()


class Door:
    """Those who have connected and not yet shown that they know the key.

    Each costs a thread and a descriptor, and may say nothing for ever. While there are fewer than MOST that is all
    they do; past it whoever came first has to go, unless it came only just now.
    """

    MOST = 128
    GRACE_S = 5.0  # a client that has just started, on a busy machine, takes a fraction of this

    def __init__(self):
        self._changed = threading.Condition()
        self._since: dict[object, float] = {}  # by connection, oldest first

    def enter(self, c) -> None:
        """Comes back once there is room."""
        with self._changed:
            while len(self._since) >= self.MOST:
                self._turn_out_the_first()
            self._since[c] = time.monotonic()

    def leave(self, c) -> None:
        with self._changed:
            self._since.pop(c, None)
            self._changed.notify_all()

    def make_room(self) -> bool:
        """For want of descriptors the first has to go. False: nobody is here."""
        with self._changed:
            if not self._since:
                return False
            self._turn_out_the_first()
        return True

    def _turn_out_the_first(self) -> None:
        c, since = next(iter(self._since.items()))
        if not self._changed.wait_for(lambda: c not in self._since, since + self.GRACE_S - time.monotonic()):
            with _socket_of(c) as peer:  # whoever is here is not closed yet
                peer.shutdown(socket.SHUT_RDWR)  # its thread, which reads, finds the end
            self._changed.wait_for(lambda: c not in self._since)


class Clients:
    """Which process holds how many references to what, so that those of a killed one can be given back.

    Only processes of this machine are known; a remote client's references stay, as in the stdlib, if it is killed.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._held: dict[int, tuple[int, Counter[str]]] = {}  # by pid: pidfd (-1: none to be had) and count by ident
        self._pids: dict[int, int] = {}  # by pidfd
        self._ended = readiness.genuine("epoll")()

    def watch(self, give_back: Callable[[str], None]) -> None:
        """From now on the dead are found."""
        self._give_back = give_back
        threading.Thread(target=self._bury, daemon=True).start()

    @staticmethod
    def _pid(c) -> int | None:
        """Who speaks; None if it is not known, or this process itself."""
        if c is None:
            return None
        with _socket_of(c) as speaker:
            if speaker.family != socket.AF_UNIX:
                return None
            return struct.unpack("3i", speaker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def took(self, c, ident: str) -> None:
        pid = self._pid(c)
        if pid is None:
            return
        with self._lock:
            fd, held = self._held.get(pid, (-1, Counter()))
            held[ident] += 1
            self._held[pid] = fd, held
            if fd >= 0:
                return
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
            self._ended.unregister(fd)  # by hand: closing does it only if no child of ours has inherited it
            os.close(fd)
        return held

    def _forget(self, pid: int) -> None:
        with self._lock:
            held = self._close(pid)
        for ident in held.elements():
            try:
                self._give_back(ident)
            except Exception as error:  # noqa: BLE001 - whatever an object's end raises, the others' references go back
                util.info("reference of a dead process to %s: %r", ident, error)

    def _bury(self) -> None:
        while True:
            readiness.until_readable(self._ended, _LOOK_S)
            for fd, _ in self._ended.poll(0):
                with self._lock:
                    pid = self._pids.get(fd)
                if pid is not None:
                    self._forget(pid)
            _core._look_for_parent()  # its signal may be blocked here (os/lifeline.h)


_SHARED = (_core.ManagedQueue, _core.SemLock, _core.Condition, _core.Event, _core.Barrier)
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_LOOK_S = 1.0  # between two looks for the parent
_PAUSE_S = 0.05  # between two looks whether there are any again


def _open_spare() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


class Server(_stdlib.Server):
    """The stdlib's server, which can also hand out what it keeps in shared memory."""

    public = [*_stdlib.Server.public, "attach", "send_off", "land"]

    def __init__(self, registry, address, authkey, serializer):
        inherited = process.current_process()._config.get("tempdir")
        super().__init__(registry, address, authkey, serializer)
        self._leave_no_socket(inherited)
        self._clients = Clients()
        self._try()
        self._life = _core.Life()
        self._door = Door()
        self._spare: int | None = None

    # ---- its life ----

    @staticmethod
    def _try() -> None:
        """What cannot be had here is said before anybody knows the address, and not to the first client."""
        life = _core.Life()
        life.begin()
        os.close(_open_spare())

    def _leave_no_socket(self, inherited) -> None:
        """The socket that it has made in a temporary folder goes when its parent is killed, as does its own folder."""
        folder = process.current_process()._config.get("tempdir")
        if folder is None or not isinstance(self.address, str) or os.path.dirname(self.address) != folder:
            return
        _core._remove_with_me(self.address, folder if folder != inherited else None)

    def serve_forever(self):
        """By whom it is served is what its clients watch, so its life begins here."""
        self._life.begin()
        self._spare = _open_spare()
        self._clients.watch(partial(super().decref, None))
        self._prepare(self._socket())
        super().serve_forever()

    def _socket(self) -> socket.socket | None:
        """Of the listener; None: of a user's own, which has another name for it."""
        return getattr(getattr(self.listener, "_listener", None), "_socket", None)

    @staticmethod
    def _prepare(listening: socket.socket | None) -> None:
        if listening is None:
            return
        # Peers have to see the manager end when it ends, and not with processes that were forked in it.
        heirs.keep_from(listening)
        listening.setblocking(False)  # see _let_in()
        if listening.family != socket.AF_UNIX:  # for those who will be accepted, too
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def shutdown(self, c):
        """Ends the manager's process, and first the waits of its clients."""
        self._life.close()
        for referent, *_ in list(self.id_to_obj.values()):
            if isinstance(referent, _core.ManagedQueue):
                referent._disturb()
        super().shutdown(c)

    # ---- who comes in ----

    def accepter(self):
        """The stdlib's, which goes on whatever happens: without it every further client would wait for ever."""
        while True:
            c = self._accept()
            if c is None:
                continue
            self._door.enter(c)
            try:
                threading.Thread(target=self.handle_request, args=(c,), daemon=True).start()
            except RuntimeError:  # no thread to be had
                self._door.leave(c)
                c.close()

    def _let_in(self):
        """Whoever comes next. Processes that are forked in here never have the connection, not even if it is new."""
        listening = self._socket()
        if listening is None:  # when somebody comes can only be seen by letting him in: forks cannot wait for that
            return self._take_in()
        readiness.until_readable(listening)
        with heirs.no_forks():
            return self._take_in()

    def _take_in(self):
        c = self.listener.accept()
        heirs.keep_from(c)
        return c

    def _accept(self):
        """None if nobody could be let in."""
        try:
            return self._let_in()
        except OSError as error:
            if error.errno not in _OUT_OF_DESCRIPTORS or self._door.make_room():
                return None
        # With one kept for this whoever waits to be let in gets an error, which is better than waiting for ever.
        c = None
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        try:
            c = self._let_in()
            self._spare = _open_spare()
            return c
        except OSError:  # still none
            if c is not None:
                c.close()
        try:
            self._spare = _open_spare()
        except OSError:  # another thread has had it
            self.stop_event.wait(_PAUSE_S)
        return None

    def handle_request(self, conn):
        """The stdlib's, with the door."""

        def recv():
            """What is unpickled first comes from a peer that has answered the challenge."""
            del conn.recv
            self._door.leave(conn)
            return conn.recv()

        conn.recv = recv
        try:
            self._handle_request(conn)
        except SystemExit:  # how serve_client() ends
            pass
        finally:
            self._door.leave(conn)
            conn.close()

    def serve_client(self, conn):
        """The stdlib's; but it never returns, since what it returned would be sent, as the answer to the next call."""
        super().serve_client(conn)
        raise SystemExit  # the manager ends

    # ---- references ----

    def incref(self, c, ident):
        """One more reference, of the process that asks."""
        super().incref(c, ident)
        self._clients.took(c, ident)

    def decref(self, c, ident):
        """Gives such a reference back."""
        if self._clients.gave(c, ident):
            super().decref(c, ident)

    def send_off(self, c, ident):
        """A proxy goes into a queue, where it has a reference that is no process's."""
        super().incref(c, ident)

    def land(self, c, ident):
        """It has been taken out, by somebody who has his own reference."""
        super().decref(c, ident)

    def attach(self, c, ident):
        """incref(), and the object itself with the manager's life, for a client that can receive descriptors."""
        self.incref(c, ident)
        try:
            referent = self.id_to_obj[ident][0]
            if not isinstance(referent, _SHARED) or isinstance(self.address, tuple):
                c.send(("#RETURN", None))
                return
            parcel = Parcel((referent, self._life))
            c.send(("#RETURN", (parcel.pickle, len(parcel.descriptors))))
            _core.send_descriptors(c.fileno(), tuple(parcel.descriptors))
        except OSError:
            self.decref(c, ident)  # the client has gone, or one of us is out of descriptors
            raise


class SharedMemoryServer(Server, _stdlib.SharedMemoryServer):
    """The stdlib's server of shared memory blocks, as steadfast."""

    public = [*_stdlib.SharedMemoryServer.public, "attach", "send_off", "land"]
