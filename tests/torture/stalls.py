"""Single threads that stand still for a while, as on a virtual processor that its host has taken away.

A process that is stopped stands still as a whole; here its other threads go on, run into what the standing one holds or
owes, and give up waiting for it where they do. Once it moves again everything has to be as if nothing had been.
"""

from __future__ import annotations

import ctypes
import os
import random
import threading
import time
from contextlib import suppress

import cmp

from .harness import Arena, Victim, Words, tree

ROUNDS, ENOUGH = range(2)
SHORTEST_S, LONGEST_S = 0.02, 2.0  # longer than a pool's patience with a start, or with SIGTERM
STALLS = 12  # of one program

# Of ptrace(2) and wait(2).
SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def trace(request: int, thread: int) -> None:
    if libc.ptrace(request, thread, None, None) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def may_trace() -> bool:
    """Sandboxes forbid it, and the kernel may be told to."""
    child = cmp.Process(target=time.sleep, args=(60,))
    child.start()
    try:
        trace(SEIZE, child.pid)
        return True
    except PermissionError:
        return False
    finally:
        child.kill()
        child.join()


def stall(thread: int, seconds: float) -> bool:
    """False: it ended meanwhile, or had."""
    try:
        trace(SEIZE, thread)
        trace(INTERRUPT, thread)
        _, status = os.waitpid(thread, WALL)
        if not os.WIFSTOPPED(status):
            return False
        time.sleep(seconds)
        try:
            trace(DETACH, thread)
        except ProcessLookupError:  # killed where it stood: its parent hears of it when its tracer has
            os.waitpid(thread, WALL)
    except (ProcessLookupError, ChildProcessError, PermissionError):  # the last: of one that is ending
        return False
    return True


# ---- a program of several threads ----


def one_task_workers() -> None:
    with cmp.Pool(2, maxtasksperchild=1) as pool:
        assert pool.map(abs, range(-6, 0), 1) == [6, 5, 4, 3, 2, 1]


def callbacks_and_an_end() -> None:
    called: list[int] = []
    pool = cmp.Pool(3)
    results = [pool.apply_async(abs, (-k,), callback=called.append) for k in range(20)]
    pool.close()
    pool.join()
    assert [result.get() for result in results] == sorted(called) == list(range(20))


def threads_that_ask() -> None:
    answers: list[list[int]] = []
    with cmp.Pool(2) as pool:
        askers = [threading.Thread(target=lambda: answers.append(list(pool.imap(abs, range(-9, 0))))) for _ in range(3)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
    assert answers == [list(range(9, 0, -1))] * 3


def terminated_half_way() -> None:
    pool = cmp.Pool(2)
    result = pool.map_async(time.sleep, [0.002] * 50, 1)
    result.wait(0.01)
    pool.terminate()
    pool.join()
    with suppress(cmp.pool.PoolEndedError):
        result.get()


def through_a_manager() -> None:
    with cmp.Manager() as manager:
        queue, shared = manager.Queue(), manager.dict()
        child = cmp.Process(target=lambda: (shared.update(a=1), queue.put("told")))
        child.start()
        assert queue.get() == "told" and shared["a"] == 1
        child.join()


def threads_on_a_queue() -> None:
    queue = cmp.Queue(3)
    child = cmp.Process(target=lambda: [queue.put(k) for k in range(30)])
    child.start()
    takers = [threading.Thread(target=lambda: [queue.get() for _ in range(10)]) for _ in range(3)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    child.join()
    assert queue.empty() and child.exitcode == 0


WORKS = (
    one_task_workers,
    callbacks_and_an_end,
    threads_that_ask,
    terminated_half_way,
    through_a_manager,
    threads_on_a_queue,
)


def work_on(words: Words, seed: int) -> None:
    dice = random.Random(seed)
    while not words[ENOUGH]:
        dice.choice(WORKS)()
        words[ROUNDS] += 1


# ---- the campaign ----


def threads_of(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def pick(arena: Arena, victim: Victim) -> int | None:
    """A thread of the program's, or of a process that it has started."""
    pid = victim.pid if arena.dice.random() < 0.6 else arena.dice.choice([victim.pid, *tree(victim.pid)])
    return arena.dice.choice(threads_of(pid) or [None])


def go_on(arena: Arena, victim: Victim) -> None:
    """It ends the round that it is in."""
    before = victim.words[ROUNDS]
    is_alive = victim.process.is_alive
    arena.wait_until(lambda: victim.words[ROUNDS] != before or not is_alive(), "it goes on no more")
    arena.alive(victim, "the program")


def threads(arena: Arena) -> None:
    """One program at work, whose threads stand still one after the other."""
    words = Words(2)
    process = arena.context.Process(target=work_on, args=(words, arena.dice.randrange(1 << 32)))
    process.start()
    victim = Victim(process, arena.born, words)
    arena.born += 1
    arena.crew.append(victim)
    for _ in range(STALLS):
        arena.pause(0.005)
        thread = pick(arena, victim)
        if thread is not None and stall(thread, SHORTEST_S * (LONGEST_S / SHORTEST_S) ** arena.dice.random()):
            arena.count("stalls")
        go_on(arena, victim)
        if arena.enough:
            break
    words[ENOUGH] = 1
    assert arena.join(victim) == 0
    arena.crew.remove(victim)
    arena.count("rounds", words[ROUNDS])
