"""A process that has put many objects does not end before somebody takes them: joining it first is a deadlock.

bpo-34140, closed as documented behaviour.
"""

import multiprocessing

COUNT = 20_000


def produce(items):
    for n in range(COUNT):
        items.put((n, "x" * 50))


if __name__ == "__main__":
    items = multiprocessing.Queue()
    process = multiprocessing.Process(target=produce, args=(items,))
    process.start()
    process.join()
    assert [items.get()[0] for _ in range(COUNT)] == list(range(COUNT))
