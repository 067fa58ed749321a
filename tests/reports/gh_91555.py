"""multiprocessing's own logger, sent through a `multiprocessing.Queue`, deadlocks: the first put logs a line itself."""

import logging.handlers
import multiprocessing

if __name__ == "__main__":
    records = multiprocessing.Queue()
    logger = multiprocessing.get_logger()
    logger.addHandler(logging.handlers.QueueHandler(records))
    logger.setLevel(logging.DEBUG)
    logger.info("hello")
    while records.get().getMessage() != "hello":
        pass
    logger.handlers.clear()
