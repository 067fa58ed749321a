"""multiprocessing.heap itself, under this name too."""

import sys

import multiprocessing.heap

sys.modules[__name__] = multiprocessing.heap
