"""Queues whose users are killed, stopped, forked or idle, or end with their interpreter."""

from __future__ import annotations

import os
import queue as threads_queue
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from support.waiting import LONG_S, finish

import cmp

# --- kills ---


@pytest.mark.parametrize("size", [8, 50_000])
def test_killed_takers_lose_at_most_one_item_each(q, size):
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    results = cmp.SimpleQueue()

    def take():
        while True:
            item = q.get()
            results.put(item[0])

    kills, n = 12, 3000
    takers = [cmp.Process(target=take, daemon=True) for _ in range(2)]
    for taker in takers:
        taker.start()
    seen = []

    def drain():
        while not results.empty():
            seen.append(results.get())

    for i in range(n):
        q.put((i, b"x" * size))
        if i % (n // kills) == 100:
            victim = chance.randrange(2)
            time.sleep(chance.random() * 0.002)
            takers[victim].kill()
            takers[victim].join()
            takers[victim] = cmp.Process(target=take, daemon=True)
            takers[victim].start()
        drain()
    q.put((n, b""))
    deadline = time.monotonic() + LONG_S
    while not q.empty():
        drain()
        assert time.monotonic() < deadline
    for taker in takers:
        taker.kill()
        taker.join()
    drain()
    assert len(set(seen)) == len(seen)
    assert n + 1 - len(seen) <= kills + 3


def test_killed_producers_leave_every_item_put_and_in_order(q):
    told = [cmp.RawValue("q", 0) for _ in range(10)]
    taken = {}
    for victim in range(10):

        def produce(victim=victim):
            for i in range(10**9):
                q.put((victim, i, b"y" * (i % 7 * 1500)))
                told[victim].value = i + 1

        child = cmp.Process(target=produce, daemon=True)
        child.start()
        time.sleep(0.02)
        child.kill()
        child.join()
        while not q.empty():
            who, i, _ = q.get(timeout=LONG_S)
            assert taken.get(who, -1) == i - 1
            taken[who] = i
        assert told[victim].value <= taken.get(victim, -1) + 1 <= told[victim].value + 1
    q.put("still whole")
    assert q.get() == "still whole"


def test_stopped_process_does_not_stop_ctrl_c_or_timeouts(q):
    child = cmp.Process(target=lambda: [q.put(1) for _ in iter(int, 1)], daemon=True)
    child.start()
    for _ in range(20):
        os.kill(child.pid, signal.SIGSTOP)
        try:
            q.put(2, timeout=0.1)
        except threads_queue.Full:
            pass
        os.kill(child.pid, signal.SIGCONT)
        q.get(timeout=LONG_S)
    child.kill()
    child.join()


# --- threads, forks, the end ---


def test_fork_in_the_middle_of_other_threads_puts_and_gets():
    there, back = cmp.Queue(), cmp.Queue()
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            there.put(b"z" * 6000)
            there.get()

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    children = []
    for i in range(20):
        child = cmp.Process(target=lambda i=i: [back.put((i, b"x" * 5000 * k)) for k in range(5)])
        child.start()
        children.append(child)
    got = [back.get(timeout=LONG_S) for _ in range(100)]
    stop.set()
    for thread in threads:
        thread.join(LONG_S)
    finish(*children)
    assert sorted((i, len(x)) for i, x in got) == sorted((i, 5000 * k) for i in range(20) for k in range(5))


def test_finalizer_may_use_the_queue_that_runs_it(q):
    class Nosy:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            q.put("from a finalizer")

    for _ in range(2000):
        Nosy()
        q.put([{}] * 3)
        while q.qsize() > 50:
            q.get()


def test_idle_waiter_costs_next_to_nothing(q):
    child = cmp.Process(target=q.get)
    child.start()
    time.sleep(0.3)
    before = cpu_ticks(child.pid)
    time.sleep(2)
    assert cpu_ticks(child.pid) - before <= 1  # 10 ms each: the coarsest this clock can say
    q.put(None)
    finish(child)


def cpu_ticks(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
