"""Workers of a Pool, killed at random instants: each task has exactly one outcome, and runs at most once."""

from __future__ import annotations

import os
import signal
import sys
import time
from multiprocessing import forkserver

import cmp
from cmp.pool import WorkerLostError

from .harness import PATIENCE_S, Arena, Words, check_memory, holds_a_lock, stop

WORKERS = 4
KILLS_A_ROUND = 100
KILLS_A_SPAWNED_ROUND = 20
TASKS = 400_000

begun: Words  # by task, how often it was begun


def enlist(words: Words) -> None:
    """Each worker's initializer."""
    global begun
    begun = words


def task(k: int, size: int) -> tuple[int, bytes]:
    begun[k] += 1
    return k, bytes([k % 251]) * size


class Round:
    """One pool and its books."""

    def __init__(self, arena: Arena):
        enlist(Words(TASKS))
        self.arena, self.killed, self.out, self.next = arena, set(), [], 0
        self.lost = self.done = self.servers = 0
        self.size = arena.dice.choice([0, 0, 100, 5000, 60_000])
        maxtasks = arena.dice.choice([None, None, None, 50])
        self.pool = arena.context.Pool(WORKERS, enlist, (begun,), maxtasksperchild=maxtasks)

    def submit(self) -> None:
        """Keeps some tasks out, by several ways in."""
        while len(self.out) < 1000:
            k = self.next
            self.next += 1
            self.out.append((k, self.pool.apply_async(task, (k, self.size))))

    def settle(self, wait: bool) -> None:
        left = []
        for k, result in self.out:
            if not wait and not result.ready():
                left.append((k, result))
                continue
            try:
                assert self.arena.fetch(result, f"task {k}") == (k, bytes([k % 251]) * self.size), (
                    f"task {k}: another's result"
                )
                assert begun[k] == 1, f"task {k} has a result and was begun {begun[k]} times"
                self.done += 1
            except WorkerLostError as error:
                # Of who ended with a fork server nobody knows how.
                assert (error.exitcode == -signal.SIGKILL and error.pid in self.killed) or (
                    error.exitcode == 255 and self.servers > 0
                ), f"{error} (killed: no)"
                assert begun[k] <= 1, f"task {k} was begun {begun[k]} times"
                self.lost += 1
        self.out = left

    def kill_server(self) -> None:
        """The fork server, and with it all its workers."""
        try:
            os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
        except (TypeError, ProcessLookupError):  # the supervisor is just starting the next one
            return
        self.servers += 1
        self.arena.count("kills")
        self.arena.count("fork servers")

    def kill(self) -> None:
        """A worker, any, half of the times one that stands inside an internal lock."""
        for _ in range(100):
            workers = list(self.pool._pool)
            if not workers:  # all of them have just been killed, and none is started again yet
                time.sleep(0.001)
                continue
            worker = self.arena.dice.choice(workers)
            aiming = self.arena.dice.random() < 0.97
            try:
                if aiming:
                    stop(worker.pid)
                    if not holds_a_lock(worker.pid, self.pool):
                        os.kill(worker.pid, signal.SIGCONT)
                        continue
                    self.arena.count("aimed")
                self.killed.add(worker.pid)
                os.kill(worker.pid, signal.SIGKILL)
                self.arena.count("kills")
                return
            except (ProcessLookupError, TypeError):
                continue  # it has just ended by itself (maxtasksperchild), or is not yet started

    def end(self) -> None:
        self.settle(wait=True)
        chunks = list(self.pool.imap_unordered(abs, range(-500, 0), 7))
        assert sorted(chunks) == list(range(1, 501)), "the pool no longer works"
        # Those that were killed last may not have been replaced yet.
        check = time.monotonic() + PATIENCE_S
        while any(worker.exitcode is not None for worker in list(self.pool._pool)) and time.monotonic() < check:
            time.sleep(0.001)
        check_memory(self.arena, self.pool)
        self.pool.close()
        start = time.monotonic()
        self.pool.join()
        self.arena.most("longest join, s", time.monotonic() - start)
        assert self.lost <= len(self.killed) + WORKERS * self.servers, "more tasks were lost than workers were killed"
        self.arena.count("tasks", self.done)
        self.arena.count("lost with the dead", self.lost)


def workers(arena: Arena, kills_a_round: int = KILLS_A_ROUND, kills_servers: bool = False) -> None:
    play = Round(arena)
    try:
        for _ in range(kills_a_round):
            play.submit()
            arena.pause(0.003)
            play.settle(wait=False)
            play.submit()
            if kills_servers and arena.dice.random() < 0.2:
                play.kill_server()
            else:
                play.kill()
            if arena.enough:
                break
        play.end()
    finally:
        play.pool.terminate()


def pass_over(unraisable) -> None:
    """A pool's supervisor says so when it could not start a worker, as where servers are killed, and tries again."""
    if not isinstance(unraisable.exc_value, (EOFError, ConnectionError)):
        sys.__unraisablehook__(unraisable)


def workers_started_by(method: str, arena: Arena) -> None:
    """The same with workers that are programs of their own, or a fork server's children, which take longer. Fork
    servers are killed, too."""
    arena.context, Words.named = cmp.get_context(method), True
    sys.unraisablehook = pass_over
    try:
        workers(arena, KILLS_A_SPAWNED_ROUND, kills_servers=method == "forkserver")
    finally:
        sys.unraisablehook = sys.__unraisablehook__
        arena.context, Words.named = cmp, False
