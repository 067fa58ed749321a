"""A process that dies while it holds a Lock leaves it locked for ever.

bpo-44138, which asks for no more than a word about it in the documentation.
"""

import multiprocessing
import os
import warnings


def die_inside(lock):
    with lock:
        os.kill(os.getpid(), 9)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # cmp names the dead process in a warning
    for lock in (multiprocessing.Lock(), multiprocessing.RLock()):
        process = multiprocessing.Process(target=die_inside, args=(lock,))
        process.start()
        process.join()
        with lock:
            print("inside")
