"""A Pool that nobody closed hangs the interpreter when it exits, or when it is collected.

bpo-38501.
"""

import gc
import multiprocessing


class Owner:
    """Has a pool, and is part of a cycle: only the collector ends it."""

    def __init__(self):
        self.me = self
        self.pool = multiprocessing.Pool(2)
        assert self.pool.map(abs, range(10)) == list(range(10))


if __name__ == "__main__":
    for _ in range(5):
        Owner()
    gc.collect()
    kept = Owner()  # lives until the interpreter ends
