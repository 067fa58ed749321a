"""A manager with things that users register, for those who look what becomes of it and of them."""

from __future__ import annotations

import contextlib
import os
import queue as threads_queue
import signal
import socket
import threading
from multiprocessing import connection, process

import cmp

ENDED = (EOFError, ConnectionError)


class Slow:
    """A call that does not come back."""

    def wait(self) -> None:
        threading.Event().wait()


_forked: list[int] = []


def fork() -> int:
    """A process that outlives this one."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
    _forked.append(pid)
    return pid


def fork_at_each_client() -> None:
    """An initializer: just as a client is accepted another thread forks, if it can."""
    accept = connection.SocketListener.accept

    def accept_and_fork(listener):
        conn = accept(listener)
        forking = threading.Thread(target=fork, daemon=True)
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
        return _forked


class Inside:
    """Looks at the server."""

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
