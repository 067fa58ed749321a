"""multiprocessing.shared_memory, where looking at another process's memory does not put it at risk.

In the standard library whoever attaches to a block of memory also hands it to the resource tracker of its own process
tree, which destroys it when that tree ends, whoever else may still use it (from 3.13 on unless it says `track=False`).
Here only the creator's tracker knows of a block, unless `track=True` asks for the other.
"""

from __future__ import annotations

import threading
from typing import Any

from . import heirs
from .kin import theirs

_stdlib = theirs("shared_memory")

# The stdlib's code once more, with this module's globals: ShareableList then makes blocks of the class below, and what
# is replaced here for a test is replaced for the code that uses it.
exec(_stdlib.__spec__.loader.get_code(_stdlib.__name__), globals())

_Base: Any = globals()["SharedMemory"]
_HAS_TRACK = hasattr(_Base, "_track")  # from Python 3.13 on


class _Tracker(threading.local):
    """The resource tracker as the code above sees it before 3.13: a thread that attaches does not register."""

    attaching = False

    def register(self, name: str, kind: str) -> None:
        if not self.attaching:
            _tracker.register(name, kind)

    def unregister(self, name: str, kind: str) -> None:
        _tracker.unregister(name, kind)


_tracker: Any = globals()["resource_tracker"]
heirs.free_at_fork(_tracker._resource_tracker._lock)
if not _HAS_TRACK:
    resource_tracker = _Tracker()


class SharedMemory(_Base):
    """A block of shared memory. `track` is 3.13's, on every version; None: known to the tracker if created here."""

    _track = True

    def __init__(
        self, name: str | None = None, create: bool = False, size: int = 0, *, track: bool | None = None
    ) -> None:
        track = bool(create) if track is None else track
        if _HAS_TRACK:
            super().__init__(name, create, size, track=track)
            return
        resource_tracker.attaching = not track
        try:
            super().__init__(name, create, size)
        finally:
            resource_tracker.attaching = False
        self._track = track

    def unlink(self) -> None:
        """Destroys the block; who has it open keeps it until they close it."""
        if not self._track:
            # It may have been created in this process tree, whose tracker then has to forget it; a tracker that does
            # not know it would complain. Knowing it twice is knowing it once.
            _tracker.register(self._name, "shared_memory")
            self._track = True
        super().unlink()


SharedMemory.__doc__ = f"{SharedMemory.__doc__}\n\n{_Base.__doc__}"
