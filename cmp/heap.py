"""multiprocessing.heap itself, under this name too."""

from cmp.kin import become

become(__name__, "heap")
