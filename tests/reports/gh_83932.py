"""A result that cannot be unpickled ends the thread that handles results: the Pool hangs for ever.

bpo-39751.
"""

import multiprocessing


class Unreadable:
    def __reduce__(self):
        return int, ("no number",)


def answer():
    return Unreadable()


if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        try:
            pool.apply(answer)
        except Exception as error:
            print(type(error).__name__, error)
        assert pool.map(abs, [-1, -2]) == [1, 2]
