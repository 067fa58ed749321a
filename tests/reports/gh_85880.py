"""A process that is terminated while it writes to a Queue takes the write lock with it: the queue is dead for all.

bpo-41714. The report's script is an attachment that could not be read; this one is built from its description.
"""

import multiprocessing
import sys


def produce(items, ready, size):
    items.put(b"x" * size)
    ready.send_bytes(b"")
    items.put("behind")


if __name__ == "__main__":
    items = multiprocessing.Queue()
    told, ready = multiprocessing.Pipe(duplex=False)
    terminated = multiprocessing.Process(target=produce, args=(items, ready, 1 << 24))
    terminated.start()
    told.recv_bytes()
    while items.empty():
        pass
    terminated.terminate()  # begun to write more than a pipe holds, with nobody who reads
    terminated.join()
    living = multiprocessing.Process(target=produce, args=(items, ready, 10))
    living.start()
    told.recv_bytes()
    got = [items.get()]
    while got[-2:] != [b"x" * 10, "behind"]:
        got.append(items.get())
    if got[0] != b"x" * (1 << 24):
        sys.exit("loses: an item whose put had returned")
    living.join()
