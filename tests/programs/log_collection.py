"""Workers log through a queue, and the parent collects; a worker's logger has the process's name."""

import logging
import logging.handlers
import multiprocessing
import sys


class Collecting(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(f"{record.processName} {record.levelname} {record.getMessage()}")


def work(records, number):
    root = logging.getLogger()
    root.handlers[:] = [logging.handlers.QueueHandler(records)]
    root.setLevel(logging.INFO)
    for line in range(3):
        root.info("worker %d, line %d", number, line)
    root.debug("nobody sees this")
    try:
        raise LookupError("in a worker")
    except LookupError:
        root.exception("caught")


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    records = multiprocessing.Queue()
    collecting = Collecting()
    listener = logging.handlers.QueueListener(records, collecting)
    listener.start()
    workers = [multiprocessing.Process(target=work, args=(records, n), name=f"w{n}") for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    listener.stop()
    for line in sorted(collecting.lines):
        print(line.splitlines()[0])
