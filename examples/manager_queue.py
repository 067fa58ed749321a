"""Workers of a pool were started before there was a queue: they need one that a manager keeps."""

import multiprocessing


def report(queue, number):
    queue.put(number * number)


def main():
    pool = multiprocessing.Pool(2)

    # A plain queue is handed down at the birth of a process, and in no other way.
    plain = multiprocessing.Queue()
    slip = pool.apply_async(report, (plain, 1))
    try:
        slip.get()
    except RuntimeError as error:
        print("refused:", error)

    # The manager's queue can be sent like any other argument, even to older processes.
    manager = multiprocessing.Manager()
    queue = manager.Queue()
    for number in range(5):
        pool.apply_async(report, (queue, number))
    pool.close()
    print("squares:", sorted(queue.get() for _ in range(5)))
    pool.join()
    print("left:", queue.qsize())
    manager.shutdown()


if __name__ == "__main__":
    main()
