"""Workers of a pool that die: their tasks fail, the others go on, and new workers take their places."""

from __future__ import annotations

import functools
import os
import signal
import socket
import sys
import time

import pytest
from support import alone, deaf
from support.tasks import begun, double, exit_now, pid_of, raise_error, sleep_for
from support.waiting import state_of, wait_until

import cmp
from cmp.pool import WorkerLostError


def kill_self(number):
    os.kill(os.getpid(), number)
    time.sleep(30)


def segfault():
    import ctypes
    import faulthandler

    faulthandler.disable()  # pytest's would report it at length
    ctypes.string_at(0)


def kill_self_if(x):
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def lose_a_worker_when_all_descriptors_have_become_others():
    pool = cmp.Pool(2)
    pool.map(double, range(4))
    numbers = max(worker.sentinel for worker in pool._pool)
    os.closerange(3, numbers + 1)
    sockets = [socket.socketpair() for _ in range(numbers)]
    with pytest.raises(WorkerLostError):
        pool.apply(kill_self, (signal.SIGKILL,))
    assert pool.apply(double, (3,)) == 6
    os._exit(len(sockets) - numbers)


def test_death_is_noticed_when_its_descriptor_has_become_something_else():
    """Closed by the program, and its number taken by what is never readable."""
    alone.run(lose_a_worker_when_all_descriptors_have_become_others)


@pytest.mark.parametrize(
    "function, args, exitcode",
    [
        (exit_now, (7,), 7),
        (exit_now, (0,), 0),
        (kill_self, (signal.SIGKILL,), -signal.SIGKILL),
        (kill_self, (signal.SIGTERM,), -signal.SIGTERM),
        (segfault, (), -signal.SIGSEGV),
    ],
)
def test_task_of_a_dead_worker_fails_and_the_pool_goes_on(function, args, exitcode):
    with cmp.Pool(2) as pool:
        with pytest.raises(WorkerLostError) as caught:
            pool.apply(function, args)
        assert caught.value.exitcode == exitcode
        assert caught.value.function.endswith(function.__name__)
        assert caught.value.pid > 0
        assert caught.value.seconds >= 0
        assert pool.map(double, range(20), 1) == [2 * i for i in range(20)]


def test_each_lost_worker_is_noticed_while_its_task_would_still_run():
    with cmp.Pool(1) as pool:
        for _ in range(5):
            pid = pool.apply(pid_of)
            result = pool.apply_async(sleep_for, (30,))
            wait_until(lambda: begun(pool))
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(WorkerLostError):
                result.get(timeout=100)


def test_worker_error_pickles_and_says_what_happened():
    import pickle

    error = WorkerLostError(12, -9, double, 1.5)
    again = pickle.loads(pickle.dumps(error))
    assert (again.pid, again.exitcode, again.seconds) == (12, -9, 1.5)
    assert str(again) == str(error)
    assert "SIGKILL" in str(error) and "double" in str(error)


def test_chunk_of_a_lost_worker_fails_the_map_and_positions_of_imap():
    with cmp.Pool(2) as pool:
        with pytest.raises(WorkerLostError):
            pool.map(kill_self_if, range(10), 2)
        iterator = pool.imap(kill_self_if, range(6))
        seen = []
        for _ in range(6):
            try:
                seen.append(next(iterator))
            except WorkerLostError:
                seen.append("lost")
        assert seen == [0, 1, 2, "lost", 4, 5]
        assert next(iterator, "end") == "end"


def test_every_task_may_kill_its_worker():
    with cmp.Pool(2) as pool:
        results = [pool.apply_async(exit_now, (3,)) for _ in range(25)]
        for result in results:
            with pytest.raises(WorkerLostError):
                result.get(timeout=100)
        assert pool.apply(double, (4,)) == 8


def test_worker_killed_while_idle_costs_nothing():
    with cmp.Pool(2) as pool:
        for _ in range(10):
            pool.map(double, range(4), 1)
            victim = pool._pool[0].pid
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda v=victim: len(pool._pool) == 2 and v not in [worker.pid for worker in pool._pool])
        assert pool.map(double, range(100), 1) == [2 * i for i in range(100)]


def test_killed_at_random_every_task_has_one_outcome():
    with cmp.Pool(3) as pool:
        results = [pool.apply_async(double, (i,)) for i in range(3000)]
        for _ in range(15):
            pool._pool[0].kill()  # or nobody, where it has just ended
            time.sleep(0.003)
        lost = 0
        for i, result in enumerate(results):
            try:
                assert result.get(timeout=100) == 2 * i
            except WorkerLostError:
                lost += 1
        assert lost <= 15
        pool.close()
        pool.join()


def test_initializer_that_always_dies_ends_in_an_error():
    with cmp.Pool(2, initializer=os._exit, initargs=(5,)) as pool:
        with pytest.raises(WorkerLostError, match="exit code 5"):
            pool.map(double, range(10))
        with pytest.raises(WorkerLostError):
            pool.apply_async(double, (1,))


def test_initializer_that_raises_ends_in_an_error(capfd):
    pool = cmp.Pool(2, initializer=raise_error, initargs=(ValueError("no start"),))
    with pytest.raises(WorkerLostError, match="gave up"):
        pool.apply(double, (1,))
    pool.close()
    pool.join()
    assert "no start" in capfd.readouterr().err


def die_first(path):
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os._exit(1)


def test_one_death_in_an_initializer_is_made_good(tmp_path):
    with cmp.Pool(2, initializer=die_first, initargs=(str(tmp_path / "first"),)) as pool:
        assert pool.map(double, range(10), 1) == [2 * i for i in range(10)]


class Fateful(cmp.pool.Pool):
    """The next workers are killed, exit, or cannot be started, as `fates` says."""

    fates: list = []

    @staticmethod
    def Process(ctx, *args, **kwds):
        fate = Fateful.fates.pop(0) if Fateful.fates else None
        if isinstance(fate, Exception):
            process = ctx.Process()
            process.start = functools.partial(raise_error, fate)
            return process
        if fate is not None:
            kwds = {"target": fate, "args": (1,)}
        return ctx.Process(*args, **kwds)


def be_killed(_):
    os.kill(os.getpid(), signal.SIGKILL)


def lose_worker(pool):
    (worker,) = pool._pool
    pool.apply(pid_of)
    worker.kill()
    worker.join()


@pytest.fixture
def silent_starts(monkeypatch):
    reports = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reports.append(report.exc_type))
    yield reports
    Fateful.fates = []


@pytest.mark.parametrize(
    "fates", [[EOFError()] * 12, [be_killed] * 9 + [BrokenPipeError()], [be_killed] * 9 + [os._exit]]
)
def test_killed_workers_and_starts_that_fail_for_once_do_not_end_a_pool(fates, silent_starts):
    with Fateful(1) as pool:
        Fateful.fates = list(fates)
        lose_worker(pool)
        assert pool.apply_async(double, (2,)).get(100) == 4
    assert Fateful.fates == [] and len(silent_starts) == sum(isinstance(fate, Exception) for fate in fates)


def test_pool_whose_workers_can_never_be_started_says_so(silent_starts):
    with Fateful(1) as pool:
        Fateful.fates = [TypeError("no")] * 100
        lose_worker(pool)
        with pytest.raises(WorkerLostError, match="cannot be started"):
            pool.apply_async(double, (2,)).get(100)


def test_killed_worker_in_a_callback_job_calls_the_error_callback():
    errors = []
    with cmp.Pool(1) as pool:
        result = pool.apply_async(exit_now, (1,), error_callback=errors.append)
        result.wait(100)
        assert [type(error) for error in errors] == [WorkerLostError]


# ---- workers that did away with what ends them with their parent ----


def have_a_pool(method, initializer, told):
    pool = cmp.get_context(method).Pool(2, initializer)
    pool.map(double, range(8))
    told.send([worker.pid for worker in pool._pool])
    signal.pause()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("initializer", deaf.WAYS)
def test_idle_workers_end_with_a_killed_parent_whatever_they_did_to_their_signals(method, initializer):
    heard, told = cmp.Pipe(False)
    parent = cmp.get_context(method).Process(target=have_a_pool, args=(method, initializer, told))
    parent.start()
    pids = heard.recv()
    parent.kill()
    parent.join()
    wait_until(lambda: all(state_of(pid) in "XZ" for pid in pids))
    heard.close()
    told.close()
