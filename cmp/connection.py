"""multiprocessing.connection itself, under this name too."""

import sys

import multiprocessing.connection

sys.modules[__name__] = multiprocessing.connection
