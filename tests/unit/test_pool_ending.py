"""Pool: how it ends: at exit, at Ctrl-C, while workers are made, while others use it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from multiprocessing import forkserver

import pytest
from support import alone
from support.waiting import LONG_S, sleeps, wait_until

import cmp
from cmp.pool import WorkerLostError

BLOCKED = """
import sys, threading, time
import cmp

def nothing(x=0):
    return x

def wait_long(x=0):
    time.sleep(60)

def apply(pool): pool.apply(wait_long)
def map(pool): pool.map(wait_long, range(4))
def imap(pool): list(pool.imap(wait_long, range(4)))
def get(pool): pool.apply_async(wait_long).get()
def join(pool): pool.close(); pool.join()
def call_back(pool): pool.apply_async(nothing, callback=lambda _: time.sleep(60)).get()
def busy(pool):
    while True: pool.map(nothing, range(100))
def busy_with_callbacks(pool):
    while True: pool.apply_async(nothing, callback=lambda _: None).wait()

if __name__ == "__main__":
    pool = cmp.Pool(2)
    began = threading.Barrier(4)
    def use():
        began.wait()
        globals()[sys.argv[1]](pool)
    for _ in range(3):
        threading.Thread(target=use, daemon=True).start()
    began.wait()
    time.sleep(0.1)
    sys.exit(7)
"""


CALLS_BACK = """
import atexit, sys, threading

@atexit.register  # before cmp's own, which is therefore called first
def bye():
    pool.terminate()
    pool.join()
    print("joined")

import cmp

def nothing():
    pass

def again(_):
    begun.set()
    exiting.wait()
    getattr(pool, sys.argv[1])(nothing)

if __name__ == "__main__":
    begun, exiting = threading.Event(), threading.Event()
    pool = cmp.Pool(1)
    result = pool.apply_async(nothing, callback=again)
    begun.wait()
    terminate = cmp.util.Finalize(None, exiting.set, exitpriority=20)
"""


@pytest.mark.parametrize("call", ["apply", "apply_async"])
def test_pool_whose_callback_gives_work_while_the_program_ends_is_joined(call):
    ended = subprocess.run([sys.executable, "-c", CALLS_BACK, call], capture_output=True, text=True, timeout=100)
    assert (ended.returncode, ended.stdout) == (0, "joined\n")


@pytest.mark.parametrize("call", ["apply", "map", "imap", "get", "join", "call_back", "busy", "busy_with_callbacks"])
def test_program_ends_silently_under_daemon_threads_in_a_pool_call(call):
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", BLOCKED, call], capture_output=True, text=True, timeout=100)
        assert (ended.returncode, ended.stdout, ended.stderr) == (7, "", "")


OWNED_BY_A_GLOBAL = """
import sys
import cmp

class Owner:
    def __init__(self):
        self.pool = cmp.Pool(2)
        self.pool.map(abs, range(5))
        self.end = getattr(self.pool, sys.argv[1])

    def __del__(self):
        self.end()
        self.pool.join()
        print("joined", flush=True)

if __name__ == "__main__":
    owner = Owner()
"""


@pytest.mark.parametrize("end", ["close", "terminate"])
def test_pool_is_joined_in_the_destructor_of_a_global(end):
    """By then the interpreter has stopped all daemon threads, wherever they were."""
    for _ in range(12):
        ended = subprocess.run(
            [sys.executable, "-c", OWNED_BY_A_GLOBAL, end], capture_output=True, text=True, timeout=100
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "joined\n", "")


STUCK_CALLBACK = """
import threading
import cmp

if __name__ == "__main__":
    begun = threading.Event()
    with cmp.Pool(1) as pool:
        pool.apply_async(abs, (1,), callback=lambda _: (begun.set(), threading.Event().wait()))
        begun.wait()
"""


def test_program_ends_though_a_callback_never_comes_back():
    ended = subprocess.run([sys.executable, "-c", STUCK_CALLBACK], capture_output=True, text=True, timeout=150)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


SLEEPING = """
import time
import cmp

if __name__ == "__main__":
    ready = cmp.Barrier(4)
    with cmp.Pool(3, ready.wait) as pool:
        ready.wait()
        print("ready", flush=True)
        time.sleep(60)
"""


def test_control_c_wakes_a_main_thread_that_sleeps_beside_an_idle_pool():
    """Its idle workers leave at the same moment and are replaced by forks, which must not take the signal away."""
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", SLEEPING],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        for _ in range(10)
    ]
    try:
        for program in programs:
            assert program.stdout.readline() == "ready\n"
        for program in programs:
            # CPython 3.14 would look at a signal that comes before the sleep after it.
            wait_until(lambda: sleeps(program.pid))  # noqa: B023
        for program in programs:
            os.killpg(program.pid, signal.SIGINT)
        for program in programs:
            _, errors = program.communicate(timeout=100)
            assert program.returncode == -signal.SIGINT and errors.count("Traceback") == 1, errors
    finally:
        for program in programs:
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGKILL)
                program.communicate()


def test_program_that_ends_with_a_busy_pool_ends_its_workers():
    code = """
import cmp, time, os
pool = cmp.Pool(2)
print(*pool.map(os.getpgid, [0, 0]), *(worker.pid for worker in pool._pool), flush=True)
pool.map_async(time.sleep, [1000] * 4, 1)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert out.stderr == ""
    for pid in map(int, out.stdout.split()[2:]):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_control_c_as_a_worker_leaves_is_silent():
    code = """
import _thread, cmp
from multiprocessing import util
# So that the worker runs Python at its end, where a signal's handler would run.
with cmp.Pool(1, util.Finalize, (None, str, (), {}, 0), maxtasksperchild=1) as pool:
    assert pool.apply(_thread.interrupt_main) is None  # as a signal's handler in C does
    pool.close()
    pool.join()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")


def test_control_c_ends_the_program_without_a_storm_of_tracebacks():
    code = """
import cmp, time
ready = cmp.Barrier(4)
with cmp.Pool(3, ready.wait) as pool:
    ready.wait()
    print("ready", *(worker.pid for worker in pool._pool), flush=True)
    pool.map(time.sleep, [60], 1)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    pids = [int(pid) for pid in process.stdout.readline().split()[1:]]
    wait_until(lambda: any(sleeps(pid) for pid in pids))
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert errors.count("Traceback") <= 2  # the parent's, and the task's inside it
    assert errors.rstrip().endswith("KeyboardInterrupt")
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def blocked_signals():
    return sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_that_replaces_another_takes_signals(method):
    with cmp.get_context(method).Pool(1, maxtasksperchild=1) as pool:
        assert [pool.apply(blocked_signals) for _ in range(3)] == [[], [], []]


def pool_loses_its_fork_server() -> None:
    with tempfile.TemporaryDirectory() as folder, cmp.get_context("forkserver").Pool(2) as pool:
        workers = {pool.apply(os.getpid) for _ in range(9)}
        slow = pool.apply_async(exec, (f"import os, time; os.mkdir({folder!r} + '/begun'); time.sleep(60)",))
        # Claimed is not enough: what a worker has not begun when it ends is done by the next one.
        wait_until(lambda: os.path.exists(f"{folder}/begun"))
        server = forkserver._forkserver._forkserver_pid
        os.kill(server, signal.SIGKILL)
        try:
            slow.get(LONG_S)
        except WorkerLostError:
            pass
        else:
            raise AssertionError("it had a minute to go")
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers))  # or they would go on unseen
        assert pool.apply(os.getpid) not in workers
        assert forkserver._forkserver._forkserver_pid != server
        pool.close()
        pool.join()


def test_pool_goes_on_and_ends_though_its_fork_server_was_killed():
    """It is the pool's supervisor, which blocks all signals, that starts the next server."""
    alone.run(pool_loses_its_fork_server)


def stay(begun: cmp.synchronize.Event) -> None:
    begun.set()
    signal.pause()


def terminate_where_signals_are_refused_at_first() -> None:
    asked = []

    def refuse(event: str, args: tuple) -> None:
        if event == "os.kill":
            asked.append(args)
            if args[1] == signal.SIGTERM or asked.count(args) == 1:
                raise PermissionError("not now")

    begun = cmp.Event()
    pool = cmp.Pool(1, stay, (begun,))
    begun.wait()
    sys.addaudithook(refuse)
    pool.terminate()
    pool.join()
    assert asked.count((pool._pool[0].pid, signal.SIGKILL)) >= 2  # more where it takes its time to end


def test_a_signal_that_could_not_be_sent_is_sent_again():
    """An audit hook stands for whatever else may be lacking just then, as memory for the call's arguments."""
    alone.run(terminate_where_signals_are_refused_at_first, seconds=60)
