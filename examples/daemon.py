"""A daemon is a helper that nobody waits for: it ends with the program that started it.

An ordinary child is waited for at the end, even if nobody joins it.
"""

import multiprocessing
import time


def tick(started):
    started.set()
    while True:
        time.sleep(0.1)  # watches something, for ever


def save(document):
    time.sleep(0.3)
    print(document, "saved")


def main():
    started = multiprocessing.Event()
    clock = multiprocessing.Process(target=tick, args=(started,), daemon=True)
    clock.start()
    started.wait()
    try:
        clock.daemon = False
    except AssertionError as error:
        print("too late:", error)

    print("the clock runs:", clock.is_alive())
    multiprocessing.Process(target=save, args=("the letter",)).start()
    print("end of main()", flush=True)


if __name__ == "__main__":
    main()
