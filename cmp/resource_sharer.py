"""multiprocessing.resource_sharer itself, under this name too."""

import sys

import multiprocessing.resource_sharer

sys.modules[__name__] = multiprocessing.resource_sharer
