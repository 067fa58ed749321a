"""`Condition.notify_all` waits for ever for a waiter that died.

bpo-30975.
"""

import multiprocessing
import os


def wait(condition, ready):
    with condition:
        ready.send_bytes(b"")
        condition.wait()


if __name__ == "__main__":
    condition = multiprocessing.Condition()
    told, ready = multiprocessing.Pipe(duplex=False)
    dead, alive = (multiprocessing.Process(target=wait, args=(condition, ready)) for _ in range(2))
    for process in (dead, alive):
        process.start()
        told.recv_bytes()
    with condition:  # both are inside wait(): they have let go of the lock
        os.kill(dead.pid, 9)
        dead.join()
        condition.notify_all()
    alive.join()
    assert alive.exitcode == 0
