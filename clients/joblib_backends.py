"""joblib by its multiprocessing and loky backends, with memory-mapped arrays and errors of workers."""

import multiprocessing
import operator
import os

import numpy as np
from contexts import CONTEXTS
from joblib import Parallel, delayed, parallel_config


def square(x):
    return x * x


def fail(x):
    raise KeyError(x)


def nested(n):
    return sum(Parallel(n_jobs=2)(delayed(square)(x) for x in range(n)))


def main():
    assert CONTEXTS["fork"] is multiprocessing.get_context("fork")
    array = np.ones(400_000)  # large enough to be mapped instead of sent
    for backend in ("multiprocessing", "loky"):
        with parallel_config(backend=backend, n_jobs=2):
            assert Parallel()(delayed(square)(x) for x in range(100)) == [x * x for x in range(100)]
            # Where joblib finds no working multiprocessing it computes in this process, and says nothing.
            assert os.getpid() not in Parallel()(delayed(os.getpid)() for _ in range(20))
            assert Parallel()(delayed(np.sum)(array * n) for n in range(5)) == [400_000.0 * n for n in range(5)]
            assert Parallel()(delayed(nested)(n) for n in range(4)) == [0, 0, 1, 5]
            try:
                Parallel()(delayed(fail)(x) for x in range(4))
            except KeyError:
                pass
            else:
                raise AssertionError("the error of a worker was lost")
    streamed = Parallel(2, "loky", return_as="generator")(delayed(square)(x) for x in range(10))
    assert list(streamed) == [x * x for x in range(10)]
    add = 5  # loky sends functions by value
    assert Parallel(2, "loky")(delayed(lambda x: operator.add(x, add))(x) for x in range(3)) == [5, 6, 7]


if __name__ == "__main__":
    main()
