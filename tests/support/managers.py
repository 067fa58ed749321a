"""A manager with things that users register, for those who look what becomes of it and of them."""

from __future__ import annotations

import contextlib
import os
import queue as threads_queue
import select
import signal
import socket
import threading
from multiprocessing import connection, process

import cmp
from cmp import _core

ENDED = (EOFError, ConnectionError)


class Slow:
    """A call that does not come back."""

    def wait(self) -> None:
        threading.Event().wait()


_forked: list[int] = []
_forking: list[threading.Thread] = []


def fork() -> int:
    """A process that outlives this one, but not that of the tests, which may not get to know of it."""
    pid = os.fork()
    if pid == 0:
        end = select.poll()
        end.register(os.pidfd_open(process.parent_process().pid), select.POLLIN)
        end.poll()
        os._exit(0)
    _forked.append(pid)
    return pid


def fork_at_each_client() -> None:
    """An initializer: just as a client is accepted another thread forks, if it can."""
    accept = connection.SocketListener.accept

    def accept_and_fork(listener):
        conn = accept(listener)
        forking = threading.Thread(target=fork, daemon=True)
        _forking.append(forking)
        forking.start()
        forking.join(0.3)
        return conn

    connection.SocketListener.accept = accept_and_fork


class Parent:
    """Has processes in the manager that outlive it."""

    def start(self) -> int:
        child = cmp.Process(target=signal.pause)
        child.start()
        _forked.append(child.pid)
        return child.pid

    def fork(self) -> int:
        return fork()

    def fork_and_return_twice(self) -> int:
        return os.fork()

    def children(self) -> list[int]:
        for thread in _forking:
            thread.join()
        return _forked


class OwnListener:
    """A listener of the user's own, into which the server cannot look."""

    def __init__(self, address, backlog):
        self._its_own = connection.Listener(address, backlog=backlog)
        self.address = self._its_own.address

    def accept(self) -> connection.Connection:
        return self._its_own.accept()


class Inside:
    """Looks at the server."""

    def may_fork(self) -> int:
        """0: another thread has kept everybody from it for a second."""
        turn = _core._take_turn()
        _core._give_turn()
        return turn

    def ended_and_known(self) -> tuple[int, int]:
        clients = process.current_process()._manager_server._clients
        return len(clients._ended.poll(0)), len(clients._held)

    def waits_of_tcp(self) -> list[bool]:
        """Of each connection: may its words be held back until others are acknowledged?"""
        waits = []
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(fd))) as sock:
                sock.getpeername()
                waits.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0)
        return waits


class Manager(cmp.managers.SyncManager): ...


Manager.register("Slow", Slow)
Manager.register("PlainQueue", threads_queue.Queue)
Manager.register("Parent", Parent)
Manager.register("Inside", Inside)
