"""tqdm around a pool's iterators, and its own process_map."""

import io
import multiprocessing
import os

from contexts import CONTEXTS, WAY
from tqdm import tqdm
from tqdm.contrib.concurrent import process_map


def square(x):
    return x * x


def pid_of(x):
    return os.getpid()


def with_lock(x):
    with tqdm.get_lock():
        return x + 1


def main():
    tqdm.set_lock(multiprocessing.RLock())
    for context in CONTEXTS.values():
        shown = io.StringIO()
        tqdm.set_lock(context.RLock())
        with context.Pool(2, initializer=tqdm.set_lock, initargs=(tqdm.get_lock(),)) as pool:
            found = list(tqdm(pool.imap_unordered(square, range(500), chunksize=7), total=500, file=shown))
            assert sorted(found) == [n * n for n in range(500)]
            assert "500/500" in shown.getvalue()
            assert list(tqdm(pool.imap(with_lock, range(20)), file=shown)) == list(range(1, 21))
    if WAY == "alias":
        assert process_map(square, range(50), max_workers=2, file=shown) == [n * n for n in range(50)]
        assert os.getpid() not in process_map(pid_of, range(10), max_workers=2, file=shown)


if __name__ == "__main__":
    main()
