"""`Queue.put` of an object that cannot be pickled says nothing to its caller; the item is gone.

bpo-40195.
"""

import multiprocessing
import sys

if __name__ == "__main__":
    items = multiprocessing.Queue()
    try:
        items.put(lambda: None)
    except Exception as error:
        print(type(error).__name__, error)
    else:
        sys.exit("loses: put returned as if all were well")
    items.put("next")
    assert items.get() == "next"
