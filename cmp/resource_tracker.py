"""multiprocessing.resource_tracker itself, under this name too."""

from cmp.kin import become

become(__name__, "resource_tracker")
