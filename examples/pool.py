"""A few processes, many tasks: the pool hands each task to a worker that has nothing to do."""

import multiprocessing
import os
import time


def wash(plate):
    time.sleep(0.05)
    return plate, os.getpid()


def main():
    pool = multiprocessing.Pool(processes=3)
    # apply_async() does not wait: it returns a slip on which the result can be asked for.
    slips = [pool.apply_async(wash, (plate,)) for plate in range(12)]
    print("handed in:", len(slips))

    pool.close()  # no more tasks
    try:
        pool.apply_async(wash, (12,))
    except ValueError as error:
        print("after close():", error)

    pool.join()  # waits for all of them; without it the workers would end with this program
    results = [slip.get() for slip in slips]
    print("plates:", [plate for plate, _ in results])
    workers = {pid for _, pid in results}
    print("at most three workers:", len(workers) <= 3, "none of them is me:", os.getpid() not in workers)


if __name__ == "__main__":
    main()
