"""The queues, under the standard library's names; they are written in C (cmp._core)."""

import queue as _threads

from cmp._core import JoinableQueue, Queue, SimpleQueue, _watch_pickler

from .context import _stdlib as _context
from .seams import namesake, watch_subclasses

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

Empty, Full = _threads.Empty, _threads.Full  # the C part has these and ShutDown from here

if hasattr(_threads, "ShutDown"):
    ShutDown = _threads.ShutDown
else:

    class ShutDown(Exception):
        """Raised by put and get of a queue that was shut down."""


__getattr__ = namesake("queues")
_ForkingPickler = _context.reduction.ForkingPickler  # of this moment, as in the standard library
_watch_pickler(globals())
watch_subclasses(Queue, JoinableQueue, SimpleQueue)
