"""multiprocessing.forkserver itself, under this name too."""

import sys

import multiprocessing.forkserver

sys.modules[__name__] = multiprocessing.forkserver
