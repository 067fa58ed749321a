"""multiprocessing.resource_tracker itself, under this name too."""

import sys

import multiprocessing.resource_tracker

sys.modules[__name__] = multiprocessing.resource_tracker
