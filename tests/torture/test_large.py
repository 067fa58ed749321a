"""Processes killed half-way through 64 MiB, on the build that is released: nothing of a half is seen, nothing stays."""

from __future__ import annotations

import os
import signal
import time

import pytest
from support import alone
from torture.harness import health, holds_a_lock, stop

import cmp
from cmp.pool import WorkerLostError

LARGE = 64 << 20
KILLS = 5
PATIENCE_S = 100


def stop_half_way(pid: int, shared) -> bool:
    """Stops it at random instants until it has a block that is nobody else's yet; False: it came to the end before.

    Of its call nearly all the time goes into the copying, and only during it a block is held that belongs to no item.
    """
    while True:
        stop(pid)
        if not holds_a_lock(pid, shared):
            found = health(shared)
            if found["size"] > 0:
                return False
            if found["held"] > 0:
                return True
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.0005)


def is_whole(shared) -> None:
    deadline = time.monotonic() + PATIENCE_S
    expected = {"whole": True, "size": 0, "items": 0, "held": 0, "returned": 0, "dead": 0}
    while True:  # a worker that has just answered lets go of what it had taken a moment later
        found = health(shared, sweep=True)
        if all(found[name] == value for name, value in expected.items()):
            return
        assert time.monotonic() < deadline, f"left in memory: {found}"
        time.sleep(0.002)


def put_one(queue) -> None:
    queue.put(b"\1" * LARGE)


def producers_die() -> None:
    queue = cmp.Queue()
    killed = 0
    while killed < KILLS:
        producer = cmp.Process(target=put_one, args=(queue,))
        producer.start()
        half_way = stop_half_way(producer.pid, queue)
        producer.kill()
        producer.join(PATIENCE_S)
        assert producer.exitcode == -signal.SIGKILL
        killed += half_way
        assert queue.qsize() == (not half_way)
        if not half_way:
            assert queue.get() == b"\1" * LARGE
        queue.put("next")
        assert queue.get(timeout=PATIENCE_S) == "next"
        is_whole(queue)


def test_producer_killed_half_way_through_a_large_put_has_put_nothing():
    alone.run(producers_die)


def get_one(queue) -> None:
    queue.get()
    signal.pause()


def consumers_die() -> None:
    queue = cmp.Queue()
    killed = 0
    while killed < KILLS:
        consumer = cmp.Process(target=get_one, args=(queue,))
        consumer.start()
        queue.put(b"\1" * LARGE)
        queue.put("next")
        half_way = stop_taking_half_way(consumer.pid, queue)
        consumer.kill()
        consumer.join(PATIENCE_S)
        assert consumer.exitcode == -signal.SIGKILL
        killed += half_way
        # What it had taken went with it, and that alone.
        assert queue.get(timeout=PATIENCE_S) == "next"
        assert queue.empty()
        is_whole(queue)


def stop_taking_half_way(pid: int, queue) -> bool:
    """Likewise: it has taken the item, and holds its block. False: it has given that back before."""
    while True:
        stop(pid)
        if not holds_a_lock(pid, queue):
            found = health(queue)
            if found["size"] == 1:
                return found["held"] > 0
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.0005)


def test_consumer_killed_half_way_through_a_large_get_takes_that_item_alone():
    alone.run(consumers_die)


def answer(fill: int) -> bytes:
    return bytes([fill]) * LARGE


def workers_die() -> None:
    killed = 0
    with cmp.Pool(1) as pool:
        while killed < KILLS:
            worker = pool.apply(os.getpid)
            is_whole(pool)
            large, behind = pool.apply_async(answer, (1,)), pool.apply_async(answer, (2,))
            half_way = stop_answering_half_way(worker, pool, large)
            os.kill(worker, signal.SIGKILL)
            try:
                assert large.get(PATIENCE_S) == answer(1)
                assert not half_way, "half a result was seen"
            except WorkerLostError as error:
                assert error.pid == worker and error.exitcode == -signal.SIGKILL
                killed += half_way
            try:
                assert behind.get(PATIENCE_S) == answer(2)
            except WorkerLostError:
                assert not half_way, "two tasks were lost with one worker"
            is_whole(pool)


def stop_answering_half_way(pid: int, pool, large) -> bool:
    """Likewise. The second task lies in the queue as long as the first is being answered."""
    while True:
        stop(pid)
        if not holds_a_lock(pid, pool):
            found = health(pool)
            if found["size"] == 0 or large.ready():
                return False
            if found["size"] == 1 and found["held"] > 0 and found["items"] == 0:
                return True
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.0005)


def test_worker_killed_half_way_through_a_large_result_has_lost_its_task_alone():
    alone.run(workers_die)


def count(argument: bytes) -> int:
    return len(argument)


def parents_wait_for_workers_that_die_over_their_arguments() -> None:
    killed = 0
    with cmp.Pool(1) as pool:
        while killed < KILLS:
            worker = pool.apply(os.getpid)
            is_whole(pool)
            os.kill(worker, signal.SIGSTOP)
            large, behind = pool.apply_async(count, (bytes(LARGE),)), pool.apply_async(count, (b"1",))
            half_way = False
            while not large.ready():
                os.kill(worker, signal.SIGCONT)
                time.sleep(0.0005)
                stop(worker)
                if holds_a_lock(worker, pool):
                    continue
                found = health(pool)
                if found["size"] == 1 and found["held"] > 0:
                    half_way = True
                    break
            os.kill(worker, signal.SIGKILL)
            try:
                assert large.get(PATIENCE_S) == LARGE
                assert not half_way
            except WorkerLostError as error:
                assert error.pid == worker and error.exitcode == -signal.SIGKILL
                killed += half_way
            try:
                assert behind.get(PATIENCE_S) == 1
            except WorkerLostError:
                assert not half_way, "two tasks were lost with one worker"
            is_whole(pool)


@pytest.mark.timeout(180)
def test_worker_killed_half_way_through_a_large_argument_has_lost_its_task_alone():
    alone.run(parents_wait_for_workers_that_die_over_their_arguments)
