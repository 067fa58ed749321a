"""One process writes into a queue, another reads from it, in the order written."""

import multiprocessing

NO_MORE = None  # an item that says so; an empty queue may only mean that the writer is slow


def write(queue, words):
    for word in words:
        queue.put(word)
    queue.put(NO_MORE)


def read(queue):
    # iter() with two arguments calls the first until it returns the second.
    for number, word in enumerate(iter(queue.get, NO_MORE), 1):
        print(number, word)


def main():
    queue = multiprocessing.Queue(2)  # room for two items: the writer waits for the reader
    words = ["what", "is", "put", "first", "is", "got", "first"]
    writer = multiprocessing.Process(target=write, args=(queue, words))
    reader = multiprocessing.Process(target=read, args=(queue,))
    writer.start()
    reader.start()
    writer.join()
    reader.join()


if __name__ == "__main__":
    main()
