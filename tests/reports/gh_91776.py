"""A child that is forked while a thread of its parent prints waits for the stream's lock for ever.

The lock is the interpreter's, and the thread that had it is not in the child, which flushes the stream at its end.
"""

import multiprocessing
import os
import sys
import threading


def nothing():
    pass


def print_without_end(ended):
    while not ended.is_set():
        print("x" * 50, flush=True)


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    sys.stdout = open(os.devnull, "w")
    sys.setswitchinterval(1e-5)
    ended = threading.Event()
    threads = [threading.Thread(target=print_without_end, args=(ended,), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(300):
        process = multiprocessing.Process(target=nothing)
        process.start()
        process.join()
        assert process.exitcode == 0
    ended.set()
    for thread in threads:
        thread.join()
