"""The ways in which a process ends, and the exit codes they have."""

import multiprocessing
import os
import signal
import sys
import threading
import time


def nothing():
    pass


def false():
    sys.exit(False)


def large():
    sys.exit(256 + 3)


def negative():
    sys.exit(-1)


def message():
    sys.exit("a message")


def error():
    raise ValueError("an error")


def interrupted():
    raise KeyboardInterrupt


def at_once():
    os._exit(9)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def with_a_thread():
    threading.Thread(target=lambda: (time.sleep(0.05), print("the thread is done"))).start()


def unflushed():
    print("no end of line", end="")


class Subclass(multiprocessing.Process):
    def __init__(self, code):
        super().__init__(name=f"subclass {code}")
        self.code = code

    def run(self):
        print(self.name, "runs")
        sys.exit(self.code)


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    ways = [nothing, false, large, negative, message, error, interrupted, at_once, killed, with_a_thread, unflushed]
    for way in ways:
        process = multiprocessing.Process(target=way, name="P")
        process.start()
        process.join()
        print(way.__name__, process.exitcode, flush=True)
    processes = [Subclass(code) for code in range(3)]
    for process in processes:
        process.start()
        process.join()
    print([process.exitcode for process in processes])
    processes[0].close()
    try:
        processes[0].is_alive()
    except ValueError as error:
        print(error)
