"""The stdlib's launchers of spawn and forkserver, for cmp's processes."""

from __future__ import annotations

from multiprocessing import popen_forkserver, popen_spawn_posix

from . import _core

__all__ = ["ForkServerPopen", "SpawnPopen"]


class SpawnPopen(_core.Popen, popen_spawn_posix.Popen):
    method = "spawn"
    __init__ = popen_spawn_posix.Popen.__init__


class ForkServerPopen(popen_forkserver.Popen):
    method = "forkserver"
