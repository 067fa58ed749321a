"""An exception that does not unpickle ends the thread that handles results: the Pool hangs for ever.

bpo-35311.
"""

import multiprocessing


class Two(Exception):
    def __init__(self, one, two):
        super().__init__(one)  # pickled as Two(one): one argument short


def fail():
    raise Two(1, 2)


if __name__ == "__main__":
    with multiprocessing.Pool(1) as pool:
        try:
            pool.apply(fail)
        except Exception as error:
            print(type(error).__name__, error)
        assert pool.apply(abs, (-1,)) == 1
