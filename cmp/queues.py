"""The queues, under the standard library's names; they are written in C (cmp._core)."""

from queue import Empty, Full  # noqa: F401  (as in the standard library's module)

from cmp._core import JoinableQueue, Queue, ShutDown, SimpleQueue  # noqa: F401

from .seams import namesake, watch_subclasses

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

__getattr__ = namesake("queues")
watch_subclasses(Queue, JoinableQueue, SimpleQueue)
