"""A spawned child that dies before it has read its arguments leaves its parent writing for ever.

Fixed in 3.13.8 and 3.14.
"""

import multiprocessing
import os

if __name__ == "__mp_main__":
    os._exit(3)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=len, args=(b"x" * (1 << 20),))
    try:
        process.start()
    except BrokenPipeError as error:
        print(error)
    else:
        process.join()
        assert process.exitcode == 3
