"""multiprocessing.popen_spawn_win32 itself, under this name too."""

import sys

from cmp.seams import theirs

sys.modules[__name__] = theirs("popen_spawn_win32")
