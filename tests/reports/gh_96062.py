"""A worker killed while it waits for work leaves the task queue locked, and its replacement waits for ever.

Thread not found in the copy of the tracker that was searched. 96061, the number before, is about a worker killed from a
shell, and code that works around this one looks for workers that have vanished from `pool._pool`.
"""

import multiprocessing
import os

if __name__ == "__main__":
    with multiprocessing.Pool(1) as pool:
        for n in range(10):
            pid = pool.apply(os.getpid)
            os.kill(pid, 9)  # as it goes back to the queue, or as it sleeps there
            assert pool.map(abs, range(-n, 0)) == list(range(n, 0, -1))
            assert pool.apply(os.getpid) != pid
