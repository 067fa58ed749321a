"""multiprocessing.popen_spawn_win32 itself, under this name too."""

import sys

import multiprocessing.popen_spawn_win32

sys.modules[__name__] = multiprocessing.popen_spawn_win32
