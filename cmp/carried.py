"""An object of cmp's on its way over a socket: its pickle, and the descriptors of the memory it lies in."""

from __future__ import annotations

import os
import threading
from multiprocessing.reduction import ForkingPickler

from .kin import theirs

__all__ = ["Parcel", "unpack"]

_stdlib_context = theirs("context")
_arriving = threading.local()  # .descriptors: what came with the pickle that this thread is loading


class _Carried:
    """A descriptor inside such a pickle: the number it has among those that come along."""

    def __init__(self, index: int):
        self.index = index

    def detach(self) -> int:
        """The descriptor, now the caller's."""
        return _arriving.descriptors.pop(self.index)


class Parcel:
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


def unpack(pickle: bytes, descriptors: tuple[int, ...]) -> object:
    _arriving.descriptors = dict(enumerate(descriptors))
    try:
        return ForkingPickler.loads(pickle)
    finally:
        for fd in _arriving.descriptors.values():
            os.close(fd)
        del _arriving.descriptors
