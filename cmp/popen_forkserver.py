"""multiprocessing.popen_forkserver itself, under this name too."""

import sys

import multiprocessing.popen_forkserver

sys.modules[__name__] = multiprocessing.popen_forkserver
