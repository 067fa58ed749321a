"""`Event.set` in a signal handler deadlocks with the `is_set` that the signal interrupted."""

import multiprocessing
import signal

SIGNALS = 200

if __name__ == "__main__":
    event = multiprocessing.Event()
    seen = []

    def handle(number, frame):
        event.set()
        seen.append(number)
        signal.setitimer(signal.ITIMER_REAL, 0.001 if len(seen) < SIGNALS else 0)

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    while len(seen) < SIGNALS:
        event.is_set()
    assert event.is_set()
