"""`Queue.empty` looks at another thing than `qsize` and `full` do, and contradicts them."""

import multiprocessing
import sys

if __name__ == "__main__":
    items = multiprocessing.Queue(maxsize=1)
    for n in range(1000):
        items.put(n)
        if items.empty():
            sys.exit("loses: full and empty at once")
        assert items.full() and items.qsize() == 1
        assert items.get() == n
        assert items.empty() and not items.full() and items.qsize() == 0
