"""multiprocessing.dummy itself, under this name too."""

import sys

from cmp.seams import theirs

sys.modules[__name__] = theirs("dummy")
sys.modules[__name__ + ".connection"] = theirs("dummy").connection
