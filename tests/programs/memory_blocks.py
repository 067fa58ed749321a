"""Blocks of shared memory and shareable lists, by name, by pickle and from a manager."""

import multiprocessing
import sys
from multiprocessing.managers import SharedMemoryManager
from multiprocessing.shared_memory import ShareableList, SharedMemory


def make(size):
    memory = SharedMemory(create=True, size=size)
    memory.buf[:4] = b"made"
    memory.close()
    return memory.name


def change(memory, name):
    memory.buf[0] = 7
    memory.close()
    same = SharedMemory(name)
    same.buf[1] = 8
    same.close()


def append_one(names):
    numbers = ShareableList(name=names)
    numbers[0] += 1
    numbers.shm.close()


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    memory = SharedMemory(create=True, size=100)
    process = multiprocessing.Process(target=change, args=(memory, memory.name))
    process.start()
    process.join()
    print(process.exitcode, bytes(memory.buf[:3]))
    memory.close()
    memory.unlink()
    try:
        SharedMemory(memory.name)
    except FileNotFoundError:
        print("gone")

    numbers = ShareableList([1, "two", None, 4.0])
    process = multiprocessing.Process(target=append_one, args=(numbers.shm.name,))
    process.start()
    process.join()
    print(process.exitcode, list(numbers), numbers.count(None))
    numbers.shm.close()
    numbers.shm.unlink()

    with SharedMemoryManager() as manager:
        block, names = manager.SharedMemory(10), manager.ShareableList(["a", 1])
        process = multiprocessing.Process(target=append_one, args=(manager.ShareableList([41]).shm.name,))
        process.start()
        process.join()
        print(process.exitcode, len(block.buf) >= 10, list(names))
        block.close()
        names.shm.close()
    if sys.argv[1] != "fork":  # a forked worker has a tracker of its own, which tidies up what it made when it ends
        with multiprocessing.Pool(1) as pool:
            found = SharedMemory(pool.apply(make, (50,)))
        print(bytes(found.buf[:4]))
        found.close()
        found.unlink()
