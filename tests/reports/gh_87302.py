"""`Queue.get(block=False)` raises Empty on a queue that has an item.

bpo-43136.
"""

import multiprocessing
import queue
import sys

if __name__ == "__main__":
    items = multiprocessing.Queue()
    for n in range(1000):
        items.put(n)
        try:
            assert items.get(block=False) == n
        except queue.Empty:
            sys.exit(f"loses: item {n} was put, and is not there")
