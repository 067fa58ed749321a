"""(Thread not found.) Played instead: a worker whose task raises SystemExit, and one whose task cannot be unpickled.

Neither the thread nor its title is in the copy of the tracker that was searched. 101081 and 83932 report what is played
here; both hang a Pool as the reports next to this number do.
"""

import multiprocessing
import sys


class Unreadable:
    def __reduce__(self):
        return int, ("no number",)


def leave(code):
    sys.exit(code)


if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        for function, argument in ((leave, 3), (id, Unreadable())):
            try:
                pool.apply(function, (argument,))
            except Exception as error:
                print(type(error).__name__, error)
            else:
                sys.exit("loses: a task nobody finished has a result")
        assert pool.map(abs, [-1, -2]) == [1, 2]
