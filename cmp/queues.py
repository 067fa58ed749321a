"""The queues, under the standard library's names; they are written in C (cmp._core)."""

from queue import Empty, Full

from cmp._core import JoinableQueue, Queue, ShutDown, SimpleQueue

__all__ = ["Queue", "SimpleQueue", "JoinableQueue"]
