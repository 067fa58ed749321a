"""multiprocessing.dummy itself, under this name too."""

import sys

import multiprocessing.dummy.connection

sys.modules[__name__] = multiprocessing.dummy
sys.modules[__name__ + ".connection"] = multiprocessing.dummy.connection
