"""multiprocessing.dummy itself, under this name too."""

from cmp.kin import become

become(__name__, "dummy")
become(__name__ + ".connection", "dummy.connection")
