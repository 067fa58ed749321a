"""A process killed while it waits at a Barrier holds up all others there, past their timeouts.

The report is about Windows; the Condition underneath is the same everywhere.
"""

import multiprocessing
import os
import threading


def arrive(barrier):
    try:
        barrier.wait(timeout=100)
    except threading.BrokenBarrierError:
        pass  # nobody promises more than that each wait ends


if __name__ == "__main__":
    barrier = multiprocessing.Barrier(4)
    processes = [multiprocessing.Process(target=arrive, args=(barrier,)) for _ in range(3)]
    for process in processes:
        process.start()
    while barrier.n_waiting < 3:
        pass
    os.kill(processes[0].pid, 9)
    processes[0].join()
    arrive(barrier)
    for process in processes[1:]:
        process.join()
        assert process.exitcode == 0
