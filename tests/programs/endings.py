"""What runs when a program ends: joins of children, ends of daemons and pools, exit functions, an error last."""

import atexit
import multiprocessing
import multiprocessing.util
import sys
import time


def show(process):
    print("joined at the end:", process.exitcode, flush=True)


def in_child():
    multiprocessing.util.Finalize(None, print, ("the child's finalizer",), {"flush": True}, exitpriority=5)


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    atexit.register(print, "the parent's exit function", flush=True)
    multiprocessing.util.Finalize(None, print, ("the parent's finalizer",), {"flush": True}, exitpriority=1)
    process = multiprocessing.Process(target=in_child)
    process.start()
    process.join()
    print("joined", process.exitcode, flush=True)
    daemon = multiprocessing.Process(target=time.sleep, args=(60,), daemon=True)
    daemon.start()
    child = multiprocessing.Process(target=time.sleep, args=(0.3,))
    child.start()
    multiprocessing.util.Finalize(None, show, (child,), exitpriority=-1)
    pool = multiprocessing.Pool(2)
    pool.map_async(time.sleep, [60])
    manager = multiprocessing.Manager()
    numbers = manager.list([1, 2])
    unread = multiprocessing.Queue()
    unread.put("never taken")
    raise RuntimeError("the program's last word")
