"""multiprocessing.util itself, under this name too."""

import sys

import multiprocessing.util

sys.modules[__name__] = multiprocessing.util
