"""multiprocessing.popen_spawn_posix itself, under this name too."""

from cmp.kin import become

become(__name__, "popen_spawn_posix")
