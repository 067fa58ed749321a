"""multiprocessing.popen_spawn_posix itself, under this name too."""

import sys

import multiprocessing.popen_spawn_posix

sys.modules[__name__] = multiprocessing.popen_spawn_posix
