"""`is_alive` says that a process lives for ever once somebody else has waited for it."""

import multiprocessing
import os
import sys

if __name__ == "__main__":
    process = multiprocessing.Process(target=print, args=("hello",))
    process.start()
    os.waitpid(process.pid, 0)
    if process.is_alive():
        sys.exit("loses: alive after its end")
    process.join()
    assert process.exitcode is not None
    assert not multiprocessing.active_children()
