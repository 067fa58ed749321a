"""multiprocessing.resource_sharer itself, under this name too."""

import sys

from cmp.seams import theirs

sys.modules[__name__] = theirs("resource_sharer")
