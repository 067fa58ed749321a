"""Waiting with patience, waiting with less, and not waiting at all."""

import multiprocessing
import signal
import time


def nap(seconds):
    time.sleep(seconds)


def main():
    child = multiprocessing.Process(target=nap, args=(60,))
    child.start()

    # With a number join() gives up after so many seconds; it returns None either way, so ask.
    child.join(0.2)
    print("still asleep:", child.is_alive())

    # A process can be ended from outside. A negative exit code is the signal that did it.
    child.terminate()
    child.join()
    print("still asleep:", child.is_alive())
    print("ended by", signal.Signals(-child.exitcode).name)

    # One that ends by itself is waited for no longer than it takes.
    child = multiprocessing.Process(target=nap, args=(0.1,))
    child.start()
    began = time.monotonic()
    child.join(30)
    print("waited for half a minute:", time.monotonic() - began > 29)


if __name__ == "__main__":
    main()
