"""multiprocessing.shared_memory itself, under this name too."""

import sys

import multiprocessing.shared_memory

sys.modules[__name__] = multiprocessing.shared_memory
