"""`AsyncResult.get` hangs if a signal handler ends the Pool meanwhile.

bpo-44462.
"""

import multiprocessing
import signal
import time

if __name__ == "__main__":
    pool = multiprocessing.Pool(2)
    signal.signal(signal.SIGALRM, lambda number, frame: pool.terminate())
    result = pool.apply_async(time.sleep, (60,))
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        result.get()
    except Exception as error:
        print(type(error).__name__, error)
    pool.join()
