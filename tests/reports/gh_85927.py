"""A program that has put more on a Queue than anybody takes does not end.

bpo-41761.
"""

import multiprocessing

if __name__ == "__main__":
    items = multiprocessing.Queue()
    for n in range(50_000):
        items.put(n)
