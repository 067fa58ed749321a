"""A worker that dies inside a task takes the task with it, and `get` waits for ever.

bpo-22393. The complaint is not that the task is lost, but that nobody is told.
"""

import multiprocessing
import os
import sys


def die(how):
    os._exit(1) if how == "exit" else os.kill(os.getpid(), 9)


if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        for how in ("exit", "kill"):
            try:
                pool.apply(die, (how,))
            except Exception as error:
                print(type(error).__name__, error)
            else:
                sys.exit("loses: a task nobody finished has a result")
        assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))
