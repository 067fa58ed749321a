"""Daemons outlive a parent that SIGTERM ended.

bpo-35999.
"""

import multiprocessing
import os
import signal
import sys
import time


def work(conn):
    while True:
        time.sleep(60)


def middle(conn):
    daemon = multiprocessing.Process(target=work, args=(conn,), daemon=True)
    daemon.start()
    conn.send(daemon.pid)
    time.sleep(60)


if __name__ == "__main__":
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=middle, args=(there,))
    process.start()
    there.close()
    pid = here.recv()
    process.terminate()
    process.join()
    if not here.poll(3):  # the end of the last process that has the other end open
        os.kill(pid, signal.SIGKILL)
        sys.exit("loses: the daemon lives on")
