"""An initializer that raises is run again and again, in one new worker after the other, and no task ever ends.

bpo-43306.
"""

import multiprocessing
import os
import sys


def fail():
    os.close(2)  # a thousand tracebacks say no more than one
    raise ValueError("as asked")


if __name__ == "__main__":
    with multiprocessing.Pool(2, initializer=fail) as pool:
        try:
            pool.apply(abs, (-1,))
        except Exception as error:
            print(type(error).__name__, error)
        else:
            sys.exit("loses: a task of a worker that never began has a result")
