"""The interpreter's end with threads blocked in every call, with work in atexit handlers, and in odd orders.

CMP_RUNS=100 repeats each scene so often; the machine's load decides where the end strikes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support import alone, places

RUNS = int(os.environ.get("CMP_RUNS", "2"))

BLOCKED = {
    "Queue.get": "q = cmp.Queue(); call = q.get",
    "Queue.get with timeout": "q = cmp.Queue(); call = lambda: q.get(timeout=99)",
    "Queue.put": "q = cmp.Queue(1); q.put(1); call = lambda: q.put(2)",
    "Queue.get_many": "q = cmp.Queue(); call = lambda: q.get_many(3)",
    "JoinableQueue.join": "q = cmp.JoinableQueue(); q.put(1); call = q.join",
    "SimpleQueue.get": "call = cmp.SimpleQueue().get",
    "poll": "q = cmp.Queue(); call = lambda: q._reader.poll(None)",
    "Lock.acquire": "l = cmp.Lock(); l.acquire(); call = l.acquire",
    "with Lock": "l = cmp.Lock(); l.acquire(); call = l.__enter__",
    "with RLock": "l = cmp.RLock(); l.acquire(); call = l.__enter__",
    "Semaphore": "call = cmp.Semaphore(0).acquire",
    "Event": "call = cmp.Event().wait",
    "Condition": "c = cmp.Condition()\ndef call():\n    with c:\n        c.wait()",
    "Barrier": "call = cmp.Barrier(9).wait",
    "Process.join": "p = cmp.Process(target=time.sleep, args=(99,), daemon=True); p.start(); call = p.join",
    "connection.wait": "one, other = cmp.Pipe(); call = lambda: connection.wait([one])",
    "connection.wait for a queue": "q = cmp.Queue(); call = lambda: connection.wait([q._reader])",
    "Pool.apply": "p = cmp.Pool(2); call = lambda: p.apply(time.sleep, (99,))",
    "Pool.map": "p = cmp.Pool(2); call = lambda: p.map(time.sleep, [99] * 4)",
    "Pool.imap": "p = cmp.Pool(2); i = p.imap(time.sleep, [99]); call = lambda: next(i)",
    "Pool.join": "p = cmp.Pool(2); p.apply_async(time.sleep, (99,)); p.close(); call = p.join",
    "AsyncResult.wait": "p = cmp.Pool(2); r = p.apply_async(time.sleep, (99,)); call = lambda: r.wait(99)",
}
# A manager ends with the interpreter, and a thread that waits for it says EOFError: also in the stdlib. Here it says
# nothing: one that is stopped while it prints to stderr keeps that stream's lock, over which the interpreter aborts.
BLOCKED_IN_A_MANAGER = {
    "Manager().Queue().get": "call = m.Queue().get",
    "Manager().Lock().acquire": "l = m.Lock(); l.acquire(); call = l.acquire",
    "Manager().Event().wait": "call = m.Event().wait",
}
MANAGER = "threading.excepthook = lambda said: said.exc_type is EOFError or os._exit(5); m = cmp.Manager(); "
PROGRAM = """
import cmp, os, sys, threading, time
from cmp import connection
{setup}
begun = threading.Semaphore(0)
def block():
    begun.release()
    call()
for _ in range(3):
    threading.Thread(target=block, daemon=True).start()
for _ in range(3):
    begun.acquire()
time.sleep({pause})
{end}
"""
ENDS = {"": 0, "sys.exit(3)": 3, "os._exit(4)": 4, "raise SystemExit('said')": 1}


def run(program: str) -> tuple[int, str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=places.child_environment(),
        cwd=places.BUILT,
    )
    try:
        output, _ = alone.finish(process, 40)
        return process.returncode, output
    finally:
        alone.end(process)


@pytest.mark.timeout(60 + 10 * RUNS)
@pytest.mark.parametrize("name", BLOCKED)
def test_interpreter_ends_as_told_while_daemon_threads_are_blocked(name):
    for number in range(RUNS):
        for end, code in ENDS.items():
            program = PROGRAM.format(setup=BLOCKED[name], pause=number % 3 * 0.02, end=end)
            said = "said\n" if code == 1 else ""
            assert run(program) == (code, said), f"at {end!r}"


@pytest.mark.timeout(60 + 10 * RUNS)
@pytest.mark.parametrize("name", BLOCKED_IN_A_MANAGER)
def test_interpreter_ends_while_daemon_threads_are_blocked_in_a_manager(name):
    for number in range(RUNS):
        setup = MANAGER + BLOCKED_IN_A_MANAGER[name]
        program = PROGRAM.format(setup=setup, pause=number % 3 * 0.02, end="sys.exit(3)")
        assert run(program) == (3, "")


SCENES = {
    "a thread that is no daemon goes on to its end": """
import cmp, threading
q, done = cmp.Queue(), cmp.Queue()
def work():
    for _ in range(100):
        q.get()
    print("done")
threading.Thread(target=work).start()
cmp.Process(target=lambda: [q.put(n) for n in range(100)]).start()
""",
    "sys.exit in a thread ends the thread": """
import cmp, sys, threading
q = cmp.Queue()
def leave():
    q.get()
    sys.exit(3)
t = threading.Thread(target=leave); t.start()
q.put(1); t.join(); print("done")
""",
    "atexit handlers use queues, locks and processes": """
import atexit
def late():
    q.put(1); assert q.get() == 1
    with lock: pass
    event.set(); assert event.wait(1)
    print("done")
atexit.register(late)  # runs after the exit function of multiprocessing
import cmp
q, lock, event = cmp.Queue(), cmp.Lock(), cmp.Event()
""",
    "atexit handlers that ask an ended pool get an error": """
import atexit, time
def late():
    try:
        r.get()
    except cmp.pool.PoolEndedError:
        print("done")
atexit.register(late)
import cmp, cmp.pool
p = cmp.Pool(1); r = p.apply_async(time.sleep, (99,))
""",
    "cycles of queues, locks and pools are left to the end": """
import cmp, gc
gc.disable()
class Node: pass
for make in (cmp.Queue, cmp.SimpleQueue, cmp.Lock, cmp.Condition, lambda: cmp.Pool(1), cmp.Manager, cmp.Event):
    n = Node(); n.me = n; n.thing = make()
    if make is cmp.Queue: n.thing.put(1)
print("done")
""",
    "things die in odd orders": """
import cmp
m = cmp.Manager(); q = m.Queue(); l = m.list()
del m
p = cmp.Pool(2); r = p.map_async(abs, range(9)); i = p.imap(abs, range(9)); assert next(i) == 0
p.terminate(); del p; del r, i
q2 = cmp.Queue(); reader = q2._reader; q2.put(1); del q2
assert reader.poll(1)
c = cmp.Condition(); lock = c._lock if hasattr(c, "_lock") else None; del c
print("done")
""",
    "a child that is no daemon is waited for": """
import cmp, time
def work():
    time.sleep(0.3); print("done", flush=True)
cmp.Process(target=work).start()
""",
    "a child ends while its threads are blocked": """
import cmp, threading
q, l = cmp.Queue(), cmp.Lock(); l.acquire()
def work():
    for call in (q.get, l.acquire, cmp.Event().wait):
        threading.Thread(target=call, daemon=True).start()
p = cmp.Process(target=work); p.start(); p.join(100); assert p.exitcode == 0, p.exitcode
print("done")
""",
}


@pytest.mark.timeout(60 + 10 * RUNS)
@pytest.mark.parametrize("scene", SCENES)
def test_end_of_a_program_in_which(scene):
    for _ in range(RUNS):
        code, output = run(SCENES[scene])
        lines = [line for line in output.splitlines() if "ResourceWarning" not in line and "_warn(" not in line]
        assert (code, lines) == (0, ["done"]), output
