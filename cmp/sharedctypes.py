"""multiprocessing.sharedctypes itself, under this name too."""

import sys

import multiprocessing.sharedctypes

sys.modules[__name__] = multiprocessing.sharedctypes
