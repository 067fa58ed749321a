"""Threads live in one process and share all of it; processes share nothing they were not given."""

import multiprocessing
import os
import threading

seen = []


def leave_a_mark():
    seen.append(os.getpid())


def run_two(kind):
    seen.clear()
    workers = [kind(target=leave_a_mark) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    mine = sum(pid == os.getpid() for pid in seen)
    return f"{len(seen)} marks, {mine} of them by this process"


def threads_in_here(answers):
    answers.put(run_two(threading.Thread))


def main():
    # The two classes are used alike: target, args, start(), join(), is_alive(), name, daemon.
    print("threads:", run_two(threading.Thread))
    print("processes:", run_two(multiprocessing.Process))

    # A process has at least one thread, and may have more: then they share that process.
    answers = multiprocessing.Queue()
    child = multiprocessing.Process(target=threads_in_here, args=(answers,))
    child.start()
    print("threads of a child:", answers.get())
    child.join()


if __name__ == "__main__":
    main()
