"""A manager with things that users register, for those who look what becomes of it and of them."""

from __future__ import annotations

import queue as threads_queue
import signal
import threading
from multiprocessing import process

import cmp

ENDED = (EOFError, ConnectionError)


class Slow:
    """A call that does not come back."""

    def wait(self) -> None:
        threading.Event().wait()


class Parent:
    """Starts a process in the manager that outlives it."""

    def start(self) -> int:
        child = cmp.Process(target=signal.pause)
        child.start()
        return child.pid


class Inside:
    """Looks at the server."""

    def ended_and_known(self) -> tuple[int, int]:
        clients = process.current_process()._manager_server._clients
        return len(clients._ended.poll(0)), len(clients._held)


class Manager(cmp.managers.SyncManager): ...


Manager.register("Slow", Slow)
Manager.register("PlainQueue", threads_queue.Queue)
Manager.register("Parent", Parent)
Manager.register("Inside", Inside)
