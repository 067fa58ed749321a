"""Values, arrays and structures of ctypes in shared memory, changed by children under their locks."""

import ctypes
import multiprocessing
import sys
from multiprocessing.sharedctypes import RawArray, Value, copy, synchronized


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_double)]


def add(total, times):
    for _ in range(times):
        with total.get_lock():
            total.value += 1


def square(points, text, flag):
    for point in points:
        point.x **= 2
        point.y **= 2
    text.value = text.value.upper()
    flag.value = True


def fill(numbers, start):
    for n in range(start, start + 5):
        numbers[n] = n * n


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    total = multiprocessing.Value("i", 0)
    processes = [multiprocessing.Process(target=add, args=(total, 300)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(total.value, total)

    lock = multiprocessing.RLock()
    points = multiprocessing.Array(Point, [(1.5, -2.0), (-3.0, 0.5)], lock=lock)
    text = multiprocessing.Array("c", b"hello world", lock=lock)
    flag = Value(ctypes.c_bool, False)
    process = multiprocessing.Process(target=square, args=(points, text, flag))
    process.start()
    process.join()
    print([(point.x, point.y) for point in points], text.value, flag.value)

    numbers = RawArray("l", 20)
    processes = [multiprocessing.Process(target=fill, args=(numbers, start)) for start in range(0, 20, 5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(list(numbers))
    mine = synchronized(copy(total))
    mine.value += 1
    print(total.value, mine.value, len(text), text[:5])
    try:
        points[5]
    except IndexError as error:
        print(error)
