"""`Pool.terminate` hangs now and then when results of an `imap` are still on their way.

bpo-33997, mostly seen on Windows.
"""

import itertools
import multiprocessing


def double(data):
    return data * 2


if __name__ == "__main__":
    for n in range(100):
        workers = multiprocessing.Pool(3)
        results = workers.imap(double, (bytes(20_000) for _ in range(200)))
        for result in itertools.islice(results, n):
            assert result == bytes(40_000)
        workers.terminate()
        workers.join()
