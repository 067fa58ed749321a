"""multiprocessing.reduction itself, under this name too."""

import sys

import multiprocessing.reduction

sys.modules[__name__] = multiprocessing.reduction
