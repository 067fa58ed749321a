"""Pools: a worker or the parent is killed at every store."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from functools import partial
from multiprocessing import current_process

import cmp
from cmp import _core
from cmp.pool import Pool, WorkerLostError

from .harness import Run, note_death

TASKS = 40
SIZES = [10, 300, 5000, 70_000, 10]
BOOK = 64  # where in the run's page the tasks' books begin

run: Run


def enlist(this: Run) -> None:
    """Every worker's initializer: the first one of all is the victim."""
    global run
    run = this
    if current_process()._identity[-1] == 1:
        run.arm()


def task(k: int, padding: bytes = b"") -> tuple[int, bytes]:
    run.page[BOOK + k] += 1
    return k, bytes([k]) * SIZES[k % len(SIZES)]


def size_of(items) -> int:
    return sum(map(len, items))


def engine_of(pool: Pool):
    return pool._terminate._args[0]


def settle(play: Run, get, expected) -> int:
    """One outcome: 1 if it was lost, and then with the victim."""
    try:
        assert get() == expected
        return 0
    except WorkerLostError as error:
        assert (error.pid, error.exitcode) == (play.victim, -signal.SIGKILL), error
        assert error.seconds >= 0 and error.function, error
        if play.point == "pool.since" and not play.after:
            assert error.seconds == 0, f"a task that was never begun ran for {error.seconds} s"
        note_death(play)
        return 1


def check_memory(pool: Pool) -> None:
    engine = engine_of(pool)
    deadline = time.monotonic() + 20
    expected = {"whole": True, "size": 0, "items": 0, "held": 0, "returned": 0, "dead": 0}
    while True:
        # A worker answers before it lets go of its claim, and of what it had taken the task from.
        found = _core._health(engine, sweep=True)
        wrong = {name: found[name] for name in expected if found[name] != expected[name]}
        claims = _core._claims(engine)
        if not wrong and claims == 0:
            break
        assert time.monotonic() < deadline, f"left in the pool's memory: {wrong}, {claims} claims"
        time.sleep(0.002)
    assert found["chunks"] <= 4, found


def is_gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")


def check_books(play: Run, lost: int) -> None:
    begun = play.page[BOOK : BOOK + TASKS]
    assert max(begun) <= 1, f"tasks were begun more than once: {list(begun)}"
    assert TASKS - sum(begun) <= lost <= 1, f"{lost} lost, begun: {list(begun)}"


def goes_on(pool: Pool, deaths: int) -> None:
    """The pool works; as many of those who are to die may still do so meanwhile."""
    for _ in range(deaths + 1):
        with contextlib.suppress(WorkerLostError):
            assert pool.map(abs, range(-20, 0), 3) == list(range(20, 0, -1))
            return
    raise AssertionError("more workers die than were killed")


def finish(play: Run, pool: Pool, deaths: int = 1) -> None:
    """The pool goes on, holds nothing, and ends."""
    goes_on(pool, deaths)
    check_memory(pool)
    pool.close()
    pool.join()
    if play.victim and is_gone(play.victim) and play.point is not None:
        note_death(play)


def worker_apply(play: Run, **options) -> None:
    """The victim is a worker among two: it takes, runs, publishes, leaves."""
    pool = cmp.Pool(2, enlist, (play,), **options)
    called: list[object] = []
    results = [
        pool.apply_async(task, (k, bytes(SIZES[-1 - k % 5])), callback=called.append, error_callback=called.append)
        for k in range(TASKS)
    ]
    lost = sum(settle(play, results[k].get, (k, bytes([k]) * SIZES[k % 5])) for k in range(TASKS))
    assert len(called) == TASKS
    check_books(play, lost)
    finish(play, pool)


def worker_few_tasks(play: Run) -> None:
    """The victim leaves by itself after some tasks."""
    worker_apply(play, maxtasksperchild=7)


def worker_imap(play: Run) -> None:
    """The same with a lazy iterable, and results taken as they come."""
    pool = cmp.Pool(2, enlist, (play,))
    iterator = pool.imap(task, (k for k in range(TASKS)))
    lost = sum(settle(play, iterator.next, (k, bytes([k]) * SIZES[k % 5])) for k in range(TASKS))
    check_books(play, lost)
    finish(play, pool)


def worker_map(play: Run) -> None:
    """A chunk that is lost fails the map."""
    pool = cmp.Pool(2, enlist, (play,))
    settle(play, lambda: pool.map(task, range(TASKS), 3), [(k, bytes([k]) * SIZES[k % 5]) for k in range(TASKS)])
    deadline = time.monotonic() + 20
    while pool._cache:  # what follows a lost chunk runs on
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert max(play.page[BOOK : BOOK + TASKS]) <= 1
    finish(play, pool)


def worker_terminated(play: Run) -> None:
    """The victim dies while the pool is terminated with work out."""
    pool = cmp.Pool(2, enlist, (play,))
    results = [pool.apply_async(task, (k,)) for k in range(TASKS)]
    results[5].wait()
    pool.terminate()
    pool.join()
    for result in results:
        assert result.ready()
    note_death(play)


def parent(play: Run) -> None:
    """The victim is the parent: it submits, replaces a worker, settles a death, closes, terminates. Its workers end."""
    if play.point is not None:
        note_death(play)
    play.arm()
    with cmp.Pool(2) as pool:
        assert pool.apply(len, (b"x" * 70_000,)) == 70_000
        doomed = pool.apply_async(die)
        assert pool.map(len, [b"y" * size for size in SIZES], 2) == SIZES
        try:
            doomed.get()
        except WorkerLostError:
            pass
        assert sum(pool.imap_unordered(abs, (k for k in range(-30, 0)))) == 465
        called = threading.Event()
        pool.apply_async(abs, (1,), callback=lambda _: called.set())
        called.wait()
        pool.close()
        pool.join()
    with cmp.Pool(1) as pool:
        pool.apply_async(time.sleep, (60,))
    play.page[4] = 0


def bequeath(this: Run, point: str, after: bool, both: threading.Barrier) -> None:
    """The first worker dies at that point, over a lock; the second one, who inherits it, is the victim."""
    global run
    run = this
    number = current_process()._identity[-1]
    if number <= 2:
        both.wait()
    if number == 1:
        _core._fault_arm(point, after, 3, signal.SIGKILL)
    elif number == 2:
        run.arm()


def worker_inherits(play: Run, point: str, after: bool) -> None:
    """The victim repairs what another has left."""
    pool = cmp.Pool(2, bequeath, (play, point, after, cmp.Barrier(2)))
    results = [pool.apply_async(task, (k, bytes(SIZES[-1 - k % 5]))) for k in range(TASKS)]
    lost = 0
    for k in range(TASKS):
        try:
            assert results[k].get() == (k, bytes([k]) * SIZES[k % 5])
        except WorkerLostError as error:
            assert error.exitcode == -signal.SIGKILL
            lost += 1
    begun = play.page[BOOK : BOOK + TASKS]
    assert max(begun) <= 1 and TASKS - sum(begun) <= lost <= 2, (lost, list(begun))
    finish(play, pool, deaths=2)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def worker_stopped(play: Run) -> None:
    """The victim stands still at its point for a while, and is killed then: others wait, and lose nothing."""
    pool = cmp.Pool(2, enlist, (play,))
    killer = threading.Thread(target=kill_when_stopped, args=(play, stop := threading.Event()))
    killer.start()
    try:
        results = [pool.apply_async(task, (k, bytes(SIZES[-1 - k % 5]))) for k in range(TASKS)]
        lost = sum(settle(play, results[k].get, (k, bytes([k]) * SIZES[k % 5])) for k in range(TASKS))
        check_books(play, lost)
        finish(play, pool)
    finally:
        stop.set()
        killer.join()


def kill_when_stopped(play: Run, stop: threading.Event) -> None:
    while not stop.wait(0.002):
        try:
            with open(f"/proc/{play.victim}/stat") as file:
                stands = file.read().rpartition(")")[2].split()[0] == "T"
        except OSError:
            continue
        if stands:
            time.sleep(0.07)  # longer than a slice of waiting for an internal lock, so that its waiters time out
            os.kill(play.victim, signal.SIGKILL)
            return


WALKS = {
    "pool-worker-apply": (worker_apply, {}),
    "pool-worker-imap": (worker_imap, {}),
    "pool-worker-map": (worker_map, {}),
    "pool-worker-few-tasks": (worker_few_tasks, {}),
    "pool-worker-terminated": (worker_terminated, {}),
    "pool-worker-inherits-take": (partial(worker_inherits, point="queue.claim", after=True), {}),
    "pool-worker-inherits-put": (partial(worker_inherits, point="queue.publish", after=False), {}),
    "pool-worker-inherits-alloc": (partial(worker_inherits, point="block.sum", after=True), {}),
    "pool-worker-stopped": (worker_stopped, {"number": signal.SIGSTOP}),
    "pool-parent": (parent, {"dies": True}),
}
# The short walk: one scenario for each role; the others reach the same stores by other ways.
SHORT = ["pool-worker-apply", "pool-worker-few-tasks", "pool-parent"]
