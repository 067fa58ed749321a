"""`Pool.apply` called by many threads blocks for ever when workers are replaced after each task.

bpo-47159. In short runs the standard library gets through.
"""

import multiprocessing
import threading

THREADS, TASKS = 8, 60


def ask(pool, answers):
    for n in range(TASKS):
        answers.append(pool.apply(abs, (-n,)))


if __name__ == "__main__":
    answers = []
    with multiprocessing.Pool(4, maxtasksperchild=1) as pool:
        threads = [threading.Thread(target=ask, args=(pool, answers)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answers) == sorted(list(range(TASKS)) * THREADS)
