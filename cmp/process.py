"""multiprocessing.process itself, under this name too."""

import sys

import multiprocessing.process

sys.modules[__name__] = multiprocessing.process
