"""Signals to children and to oneself: handlers, terminate, timeouts in workers, Ctrl-C in waits."""

import multiprocessing
import os
import signal
import sys
import threading
import time


class TooLate(Exception):
    pass


def patient(queue):
    def leave(number, frame):
        queue.put(signal.Signals(number).name)
        sys.exit(3)

    signal.signal(signal.SIGTERM, leave)
    # A handler may not put while it interrupts a put: the standard library's queue would wait for itself.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    queue.put("ready")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    while True:
        time.sleep(0.1)  # Python runs a handler after the sleep if its signal came just before it


def stubborn(queue):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    queue.put("ready")
    while True:
        time.sleep(60)


def ring(number, frame):
    signal.setitimer(signal.ITIMER_REAL, 0)
    raise TooLate("too late")


def wind(seconds):
    """It rings again and again: Python looks after a sleep at a signal that came just before it."""
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def limited(limit, seconds):
    wind(limit)
    try:
        time.sleep(seconds)
        return "in time"
    except TooLate as error:
        return str(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def press_ctrl_c():
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    queue = multiprocessing.Queue()
    for target in (patient, stubborn):
        process = multiprocessing.Process(target=target, args=(queue,))
        process.start()
        print(target.__name__, queue.get())
        process.terminate()
        if target is stubborn:
            process.join(0.1)
            print(process.is_alive())
            process.kill()
        else:
            print(queue.get())
        process.join()
        print(process.exitcode)

    with multiprocessing.Pool(2) as pool:
        print(pool.starmap(limited, [(60, 0), (0.2, 60), (60, 0)], chunksize=1))

    sleeper = multiprocessing.Process(target=time.sleep, args=(60,), daemon=True)
    sleeper.start()
    lock = multiprocessing.Lock()
    lock.acquire()
    for wait in (queue.get, sleeper.join, lock.acquire, multiprocessing.Event().wait):
        try:
            press_ctrl_c()
            wait()
        except KeyboardInterrupt:
            print("interrupted")

    for wait in (
        multiprocessing.SimpleQueue().get,
        multiprocessing.Semaphore(0).acquire,
        multiprocessing.Barrier(2).wait,
    ):
        try:
            wind(0.1)
            wait()
        except TooLate as error:
            print(error)
    print("the daemon ends with its parent")
