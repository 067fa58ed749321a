"""What a queue says when there is no room left, or nothing to take."""

import multiprocessing
import queue  # the exceptions live there
import time


def main():
    shelf = multiprocessing.Queue(2)
    print("empty:", shelf.empty(), "full:", shelf.full())

    shelf.put("a book")
    shelf.put({"any": ["picklable", "object"]})
    print("items:", shelf.qsize(), "full:", shelf.full())

    # A third one does not fit. put() would wait for ever; these two do not.
    try:
        shelf.put_nowait("one too many")
    except queue.Full:
        print("full, said at once")
    began = time.monotonic()
    try:
        shelf.put("one too many", timeout=0.3)
    except queue.Full:
        print("full, said after a while:", time.monotonic() - began > 0.29)

    print("took", shelf.get())
    print("took", shelf.get())
    try:
        shelf.get_nowait()
    except queue.Empty:
        print("empty, said at once")
    try:
        shelf.get(timeout=0.1)
    except queue.Empty:
        print("empty, said after a while")

    # Without a number there is room for as much as memory holds.
    long_shelf = multiprocessing.Queue()
    for number in range(10_000):
        long_shelf.put(number)
    print("on the long shelf:", sum(1 for _ in iter(long_shelf.get, 9_999)) + 1)


if __name__ == "__main__":
    main()
