"""logging's QueueHandler and QueueListener over a queue, with the names of processes."""

import logging
import logging.handlers
import multiprocessing

from contexts import CONTEXTS


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.setFormatter(logging.Formatter("%(processName)s %(levelname)s %(message)s"))
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))


def child(queue, count):
    logger = logging.getLogger("client")
    logger.addHandler(logging.handlers.QueueHandler(queue))
    logger.setLevel(logging.INFO)
    for n in range(count):
        logger.info("line %d of %s", n, multiprocessing.current_process().name)
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logger.exception("an error")


def main():
    for context in CONTEXTS.values():
        for queue in (context.Queue(), context.Manager().Queue()):
            kept = Kept()
            listener = logging.handlers.QueueListener(queue, kept)
            listener.start()
            children = [context.Process(target=child, args=(queue, 20), name=f"Worker {n}") for n in range(2)]
            for process in children:
                process.start()
            for process in children:
                process.join()
                assert process.exitcode == 0
            listener.stop()
            for process in children:
                lines = [line for line in kept.lines if line.startswith(process.name)]
                assert lines[:-1] == [f"{process.name} INFO line {n} of {process.name}" for n in range(20)]
                assert "ZeroDivisionError" in lines[-1]


if __name__ == "__main__":
    main()
