"""`Event.set` in a signal handler deadlocks with the `wait` that the signal interrupted."""

import multiprocessing
import signal

if __name__ == "__main__":
    event = multiprocessing.Event()
    signal.signal(signal.SIGALRM, lambda number, frame: event.set())
    for _ in range(20):
        event.clear()
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert event.wait()
