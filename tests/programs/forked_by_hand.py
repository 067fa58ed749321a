"""os.fork beside multiprocessing, subprocesses inside workers, and processes started by threads."""

import multiprocessing
import os
import subprocess
import sys
import threading


def ask_python(number):
    command = [sys.executable, "-c", f"print({number} * 2)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def put(queue, item):
    queue.put(item)


def start_and_join(queue, item):
    process = multiprocessing.Process(target=put, args=(queue, item))
    process.start()
    process.join()


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=put, args=(queue, "a process's"))
    process.start()
    print(queue.get(), flush=True)
    pid = os.fork()
    if pid == 0:
        try:
            process.join()
        except AssertionError as error:
            queue.put(str(error))
        queue.close()
        queue.join_thread()
        os._exit(0)
    print(queue.get(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    process.join()
    with multiprocessing.Pool(2) as pool:
        print(pool.map(ask_python, range(4)), flush=True)  # or a thread's child may inherit the stream's lock
    threads = [threading.Thread(target=start_and_join, args=(queue, n)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sorted(queue.get() for _ in threads))
