"""A consumer killed inside `Queue.get` leaves the queue locked: nobody gets anything from it any more.

bpo-43805.
"""

import multiprocessing
import os
import queue


def consume(items, ready):
    ready.send_bytes(b"")
    items.get()


if __name__ == "__main__":
    items = multiprocessing.Queue()
    told, ready = multiprocessing.Pipe(duplex=False)
    for _ in range(10):
        process = multiprocessing.Process(target=consume, args=(items, ready))
        process.start()
        told.recv_bytes()
        try:
            items.get(timeout=0.05)  # nothing will come: only long enough for the consumer to be inside its get
        except queue.Empty:
            pass
        os.kill(process.pid, 9)
        process.join()
    items.put("for the living")
    assert items.get() == "for the living"
