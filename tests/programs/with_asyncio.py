"""An event loop beside processes: an executor, a queue read by a thread, a pipe in the loop's own selector."""

import asyncio
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from os import _exit


def produce(queue):
    for number in range(5):
        queue.put(number)
    queue.put(None)


def say(writer):
    writer.send("through the pipe")


async def main():
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(2) as executor:
        print(await asyncio.gather(*(loop.run_in_executor(executor, sum, range(n)) for n in (10, 100, 1000))))
        try:
            await loop.run_in_executor(executor, _exit, 3)
        except BrokenProcessPool as error:
            print(type(error).__name__)

    queue = multiprocessing.Queue()
    producer = multiprocessing.Process(target=produce, args=(queue,))
    producer.start()
    got = []
    while (item := await loop.run_in_executor(None, queue.get)) is not None:
        got.append(item)
    producer.join()
    print(got)

    reader, writer = multiprocessing.Pipe(duplex=False)
    said = loop.create_future()
    loop.add_reader(reader.fileno(), lambda: said.set_result(reader.recv()))
    speaker = multiprocessing.Process(target=say, args=(writer,))
    speaker.start()
    print(await said)
    loop.remove_reader(reader.fileno())
    speaker.join()

    with multiprocessing.Pool(2) as pool:
        answer = loop.create_future()
        pool.apply_async(pow, (2, 10), callback=lambda result: loop.call_soon_threadsafe(answer.set_result, result))
        print(await answer)


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    asyncio.run(main())
