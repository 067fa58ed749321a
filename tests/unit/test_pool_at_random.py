"""Pools under everything at once: several threads make random calls on several pools, whose workers die meanwhile."""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import time

import pytest
from support import alone

import cmp
from cmp.pool import PoolEndedError, WorkerLostError

pytestmark = pytest.mark.timeout(180)

CALLS = 80  # of each thread
ENDINGS = (PoolEndedError, WorkerLostError, cmp.TimeoutError)


def square(x):
    return x * x


def refuse(x):
    raise KeyError(x)


def fork_and_go_on(x):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return x


class Subject:
    """A pool, and how often it was given work with callbacks and called back."""

    def __init__(self, size: int, lifetime: int | None):
        self.pool = cmp.Pool(size, maxtasksperchild=lifetime)
        self.terminated = False
        self.given = self.called = 0
        self.lock = threading.Lock()

    def give(self, function, argument):
        def call_back(_):
            with self.lock:
                self.called += 1
            if self.called % 16 == 0:
                gc.collect()

        with self.lock:  # counted before it can be called back
            self.pool.apply_async(function, (argument,), callback=call_back, error_callback=call_back)
            self.given += 1

    def terminate(self):
        self.terminated = True
        self.pool.terminate()


class Player(threading.Thread):
    def __init__(self, subjects: list[Subject], seed: int):
        super().__init__()
        self.subjects, self.dice, self.wrong = subjects, random.Random(seed), []

    def run(self):
        moves = [getattr(type(self), name) for name in sorted(vars(type(self))) if name.startswith("move_")]
        for _ in range(CALLS):
            move, subject = self.dice.choice(moves), self.dice.choice(self.subjects)
            try:
                move(self, subject)
            except ENDINGS:
                pass
            except ValueError as error:
                if "Pool" not in str(error):  # not running, or still running
                    self.wrong.append((move, error))
            except BaseException as error:  # noqa: BLE001 - told at the end
                self.wrong.append((move, error))

    def move_apply(self, subject):
        x = self.dice.randrange(1000)
        assert subject.pool.apply(square, (x,)) == x * x

    def move_map(self, subject):
        n = self.dice.randrange(40)
        assert subject.pool.map(square, range(n), self.dice.choice([None, 1, 7])) == [x * x for x in range(n)]

    def move_imap_and_leave(self, subject):
        results = subject.pool.imap(square, (x for x in range(50)), self.dice.choice([1, 5]))
        assert [results.next(30) for _ in range(5)] == [0, 1, 4, 9, 16]

    def move_iterable_that_uses_the_pool(self, subject):
        assert subject.pool.map(square, (subject.pool.apply(square, (x,)) for x in range(3))) == [0, 1, 16]

    def move_refuse(self, subject):
        with pytest.raises((KeyError, *ENDINGS)):
            subject.pool.apply(refuse, (1,))

    def move_give(self, subject):
        subject.give(self.dice.choice([square, refuse, fork_and_go_on, sys.exit, time.sleep]), 0)

    def move_do_not_wait(self, subject):
        subject.pool.apply_async(time.sleep, (0.02,)).get(self.dice.choice([0, 0.01]))

    def move_kill_a_worker(self, subject):
        for worker in list(subject.pool._pool)[:1]:
            worker.kill()

    def move_fork(self, subject):
        pid = os.fork()
        if pid == 0:
            try:
                subject.pool.terminate()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)

    def move_end(self, subject):
        kind = self.dice.randrange(12)
        if kind == 0:
            subject.terminate()
        elif kind == 1:
            subject.pool.close()
        elif subject.pool._state != "RUN":
            subject.pool.join()
            if subject in self.subjects and len(self.subjects) < 12:
                self.subjects.append(Subject(self.dice.randint(1, 3), self.dice.choice([None, 1, 3])))


def play(seed: int) -> None:
    subjects = [Subject(2, None), Subject(1, 2)]
    players = [Player(subjects, 10 * seed + i) for i in range(3)]
    for player in players:
        player.start()
    for player in players:
        player.join()
    assert [player.wrong for player in players] == [[]] * len(players)
    for subject in subjects:
        subject.pool.close()
        subject.pool.join()
        assert subject.terminated or subject.called == subject.given
    assert cmp.active_children() == []


@pytest.mark.parametrize("seed", range(4))
def test_pools_have_one_outcome_for_each_task_whoever_does_what_to_them(seed):
    alone.run(play, seed, seconds=150)
