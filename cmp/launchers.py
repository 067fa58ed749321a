"""The stdlib's launchers of spawn and forkserver, for cmp's processes."""

from __future__ import annotations

from multiprocessing import popen_forkserver, popen_spawn_posix

from . import _core

__all__ = ["ForkServerPopen", "SpawnPopen"]


class SpawnPopen(_core.Popen, popen_spawn_posix.Popen):
    method = "spawn"
    __init__ = popen_spawn_posix.Popen.__init__

    def duplicate_for_child(self, fd):
        """A descriptor that several objects refer to travels once: the stdlib's launcher refuses it twice."""
        if fd not in self._fds:
            self._fds.append(fd)
        return fd


class ForkServerPopen(popen_forkserver.Popen):
    method = "forkserver"
