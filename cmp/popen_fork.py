"""multiprocessing.popen_fork itself, under this name too."""

import sys

import multiprocessing.popen_fork

sys.modules[__name__] = multiprocessing.popen_fork
