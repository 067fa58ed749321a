"""multiprocessing.spawn itself, under this name too."""

import sys

import multiprocessing.spawn

sys.modules[__name__] = multiprocessing.spawn
