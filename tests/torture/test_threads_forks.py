"""Threads that use everything while their process forks; Ctrl-C in, and the interpreter's end with, every call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from support import places

import cmp

LONG_S = 20

BLOCKING = {
    "Queue.get": "q = cmp.Queue(); call = q.get",
    "Queue.put": "q = cmp.Queue(1); q.put(1); call = lambda: q.put(2)",
    "Queue.get_many": "q = cmp.Queue(); call = lambda: q.get_many(3)",
    "JoinableQueue.join": "q = cmp.JoinableQueue(); q.put(1); call = q.join",
    "SimpleQueue.get": "call = cmp.SimpleQueue().get",
    "poll": "q = cmp.Queue(); call = lambda: q._reader.poll(None)",
    "Lock.acquire": "l = cmp.Lock(); l.acquire(); call = l.acquire",
    "with Lock": "l = cmp.Lock(); l.acquire(); call = l.__enter__",
    "Semaphore": "call = cmp.Semaphore(0).acquire",
    "Event": "call = cmp.Event().wait",
    "Condition": "c = cmp.Condition(); c.acquire(); call = c.wait",
    "Barrier": "call = cmp.Barrier(2).wait",
    "Process.join": "p = cmp.Process(target=time.sleep, args=(99,), daemon=True); p.start(); call = p.join",
    "Pool.apply": "p = cmp.Pool(2); call = lambda: p.apply(time.sleep, (99,))",
    "Pool.map": "p = cmp.Pool(2); call = lambda: p.map(time.sleep, [99] * 4)",
    "Pool.imap": "p = cmp.Pool(2); i = p.imap(time.sleep, [99]); call = lambda: next(i)",
    "Pool.join": "p = cmp.Pool(2); p.apply_async(time.sleep, (99,)); p.close(); call = p.join",
    "Manager().Queue().get": "m = cmp.Manager(); call = m.Queue().get",
    "Manager().Lock().acquire": "m = cmp.Manager(); l = m.Lock(); l.acquire(); call = l.acquire",
}


def program(code: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", f"import cmp, threading, time\n{code}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=places.child_environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def finish(process: subprocess.Popen) -> str:
    try:
        return process.communicate(timeout=LONG_S)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        pytest.fail("it does not end")


def is_asleep(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


@pytest.mark.parametrize("call", BLOCKING)
def test_control_c_ends_each_blocking_call(call):
    process = program(f"{BLOCKING[call]}\nprint('ready', flush=True)\ncall()")
    process.stdout.readline()
    deadline = time.monotonic() + LONG_S
    while not is_asleep(process.pid):
        assert time.monotonic() < deadline
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    assert "KeyboardInterrupt" in finish(process)
    assert time.monotonic() - began < 5


def test_interpreter_ends_while_daemon_threads_are_blocked_in_every_call():
    code = """
def quietly(call):
    try:
        call()
    except BaseException:  # a pool and a manager end before the threads do
        pass

def block(call):
    for _ in range(2):
        threading.Thread(target=quietly, args=(call,), daemon=True).start()

"""
    for name, setup in BLOCKING.items():
        if name != "Condition":  # which belongs to the thread that has acquired it
            code += f"{setup}\nblock(call)\n"
    process = program(code + "time.sleep(0.1)")
    errors = finish(process)
    assert process.returncode == 0, errors


def test_children_of_a_process_with_busy_threads_find_everything_usable():
    queue, lock, rlock, semaphore, condition = cmp.Queue(), cmp.Lock(), cmp.RLock(), cmp.Semaphore(3), cmp.Condition()
    stop = threading.Event()

    def move(k: int) -> None:
        while not stop.is_set():
            queue.put((k, b"x" * (k * 977)))
            queue.get()

    def hold(_: int) -> None:
        while not stop.is_set():
            with lock, rlock, semaphore:
                pass

    def wait(_: int) -> None:
        while not stop.is_set():
            with condition:
                condition.notify()
                condition.wait(0.001)

    def use_everything(forks: int = 1) -> None:
        queue.put((99, b""))
        queue.get()
        with lock, rlock, semaphore:
            pass
        with condition:
            condition.notify_all()
        if forks:
            child = cmp.Process(target=use_everything, args=(forks - 1,))
            child.start()
            child.join(LONG_S)
            assert child.exitcode == 0

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6) for work in (move, hold, wait)][:16]
    for thread in threads:
        thread.start()
    try:
        for _ in range(6):
            use_everything()
    finally:
        stop.set()
        for thread in threads:
            thread.join(LONG_S)
    assert not any(thread.is_alive() for thread in threads)
    while not queue.empty():
        queue.get()


def test_forks_of_every_kind_among_threads_that_use_pools_and_managers():
    """Children by Process, os.fork and subprocess while threads use a pool, a manager, events and conditions."""
    stop = threading.Event()
    simple, event, condition, barrier = cmp.SimpleQueue(), cmp.Event(), cmp.Condition(), cmp.Barrier(2)
    troubles = []

    def again_and_again(work) -> threading.Thread:
        def body() -> None:
            try:
                while not stop.is_set():
                    work()
            except BaseException as trouble:  # noqa: BLE001 - to be shown
                troubles.append(trouble)

        thread = threading.Thread(target=body)
        thread.start()
        return thread

    def pass_through(queue) -> None:
        queue.put(b"x" * 5000)
        queue.get()

    def ring() -> None:
        event.set()
        event.wait(1)
        event.clear()

    def wait() -> None:
        with condition:
            condition.notify_all()
            condition.wait(0.001)

    def child(pool) -> None:
        pass_through(simple)
        ring()
        wait()
        with cmp.Pool(1) as own:
            assert own.apply(abs, (-3,)) == 3
        try:
            pool.apply(abs, (-3,))
        except RuntimeError:
            return
        raise AssertionError("a pool was used that is the parent's")

    with cmp.Manager() as manager, cmp.Pool(2) as pool:
        shared, lock = manager.Queue(), manager.Lock()

        def in_manager() -> None:
            with lock:
                pass_through(shared)

        works = [
            lambda: pass_through(simple),
            ring,
            wait,
            in_manager,
            lambda: pool.map(abs, range(20)),
            lambda: list(pool.imap_unordered(abs, range(5))),
            lambda: barrier.wait(100),
            lambda: barrier.wait(100),
        ]
        threads = [again_and_again(work) for work in works[:6] * 2 + works[6:]]
        try:
            for number in range(9):
                if number % 3 == 0:
                    process = cmp.Process(target=child, args=(pool,))
                    process.start()
                    process.join(LONG_S)
                    assert process.exitcode == 0
                elif number % 3 == 1:
                    pid = os.fork()
                    if pid == 0:
                        try:
                            child(pool)
                            pass_through(shared)
                        except BaseException:  # noqa: BLE001 - nothing of the test may go on in here
                            os._exit(1)
                        os._exit(0)
                    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
                else:
                    subprocess.run([sys.executable, "-c", "pass"], check=True, timeout=LONG_S)
        finally:
            stop.set()
            barrier.abort()
            for thread in threads:
                thread.join(LONG_S)
        assert not any(thread.is_alive() for thread in threads)
        assert all(isinstance(trouble, threading.BrokenBarrierError) for trouble in troubles), troubles
    while not simple.empty():
        simple.get()
