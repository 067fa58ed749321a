"""pebble's pools, which end tasks that last too long and notice workers that die."""

import concurrent.futures
import os
import time

from contexts import CONTEXTS
from pebble import ProcessExpired, ProcessPool, concurrent as decorated


def square(x):
    return x * x


def end(code):
    os._exit(code)


def main():
    for context in CONTEXTS.values():
        with ProcessPool(2, context=context) as pool:
            assert list(pool.map(square, range(20), chunksize=3).result()) == [n * n for n in range(20)]
            assert isinstance(pool.schedule(time.sleep, (60,), timeout=0.5).exception(), TimeoutError)
            assert isinstance(pool.schedule(end, (3,)).exception(), ProcessExpired)
            assert pool.submit(square, None, 5).result() == 25
        assert decorated.process(context=context)(square)(6).result() == 36
    assert issubclass(concurrent.futures.TimeoutError, Exception)


if __name__ == "__main__":
    main()
