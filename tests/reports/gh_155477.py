"""(Thread not found.) Played instead: a callback that raises ends the thread that handles results, and `get` hangs.

Neither the thread nor its title is in the copy of the tracker that was searched. 83371 reports what is played here, and
87129 what follows it: a callback that terminates the pool.
"""

import multiprocessing
import sys
import threading


def bad_callback(result):
    raise ValueError(result)


if __name__ == "__main__":
    threading.excepthook = sys.unraisablehook = lambda error: print(error.exc_type.__name__)
    with multiprocessing.Pool(2) as pool:
        assert pool.apply_async(abs, (-1,), callback=bad_callback).get() == 1
        assert pool.map(abs, [-1, -2]) == [1, 2]

    pool = multiprocessing.Pool(2)
    done = threading.Event()

    def end_all(result):
        pool.terminate()
        done.set()

    pool.apply_async(abs, (-1,), callback=end_all)
    done.wait()
    pool.join()
