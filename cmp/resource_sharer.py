"""multiprocessing.resource_sharer itself, under this name too."""

from cmp.kin import become

become(__name__, "resource_sharer")
