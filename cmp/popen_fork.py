"""multiprocessing.popen_fork itself, under this name too."""

from cmp.kin import become

become(__name__, "popen_fork")
