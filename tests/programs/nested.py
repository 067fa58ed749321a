"""Processes that start processes, with queues from above, and a pool whose workers have pools."""

import multiprocessing
import multiprocessing.pool
import sys


def leaf(queue, number):
    queue.put(number)


def branch(queue, number):
    leaves = [multiprocessing.Process(target=leaf, args=(queue, number * 10 + n)) for n in range(2)]
    for process in leaves:
        process.start()
    for process in leaves:
        process.join()
    queue.put(multiprocessing.current_process().name)


class NoDaemonProcess(multiprocessing.Process):
    @property
    def daemon(self):
        return False

    @daemon.setter
    def daemon(self, value):
        pass


class NestablePool(multiprocessing.pool.Pool):
    @staticmethod
    def Process(ctx, *args, **kwds):
        return NoDaemonProcess(*args, **kwds)


def double(x):
    return 2 * x


def doubles(count):
    with multiprocessing.Pool(2) as pool:
        return pool.map(double, range(count))


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    queue = multiprocessing.Queue()
    branches = [multiprocessing.Process(target=branch, args=(queue, number)) for number in range(3)]
    for process in branches:
        process.start()
    print(sorted(str(queue.get()) for _ in range(9)))
    for process in branches:
        process.join()
    with NestablePool(2) as pool:
        print(pool.map(doubles, range(4), chunksize=1))
    with multiprocessing.Pool(1) as pool:
        try:
            pool.apply(doubles, (1,))
        except AssertionError as error:
            print(error)
