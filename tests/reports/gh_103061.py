"""An exception that turns its argument into another one when it is made hangs `Pool.map`: made again, it fails."""

import multiprocessing
from types import SimpleNamespace


class Named(Exception):
    def __init__(self, what):
        super().__init__(what.name)


def fail(number):
    raise Named(SimpleNamespace(name=f"task {number}"))


if __name__ == "__main__":
    with multiprocessing.Pool(3) as pool:
        try:
            pool.map(fail, [1])
        except Exception as error:
            print(type(error).__name__, error)
        assert pool.map(abs, [-1, -2]) == [1, 2]
