"""Words counted over files by a pool, sorted by a chain of processes with bounded queues, with progress on the way."""

import collections
import multiprocessing
import os
import sys
import tempfile
import threading


def count(path):
    with open(path, encoding="utf-8") as file:
        return collections.Counter(file.read().split())


def stage(incoming, outgoing, function):
    while (item := incoming.get()) is not None:
        outgoing.put(function(item))
    outgoing.put(None)


def loud(pair):
    return pair[0].upper(), pair[1]


def as_text(pair):
    return f"{pair[0]}: {pair[1]}"


def feed(queue, items):
    for item in items:
        queue.put(item)
    queue.put(None)


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, f"{n}.txt") for n in range(12)]
        for n, path in enumerate(paths):
            with open(path, "w", encoding="utf-8") as file:
                file.write("spam ham eggs " * n + "bacon")
        total, done = collections.Counter(), 0
        with multiprocessing.Pool(3) as pool:
            for counted in pool.imap_unordered(count, paths, chunksize=2):
                total += counted
                done += 1
                if done % 4 == 0:
                    print(f"{done}/{len(paths)}")

    queues = [multiprocessing.Queue(2) for _ in range(3)]
    stages = [
        multiprocessing.Process(target=stage, args=(queues[n], queues[n + 1], function))
        for n, function in enumerate((loud, as_text))
    ]
    for process in stages:
        process.start()
    threading.Thread(target=feed, args=(queues[0], sorted(total.items()) * 10)).start()
    lines = list(iter(queues[-1].get, None))
    print(len(lines), lines[:4])
    for process in stages:
        process.join()
