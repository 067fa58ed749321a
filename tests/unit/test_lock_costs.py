"""Many locks and many waiters: what they cost, where they lie, and that they go away."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.waiting import LONG_S, asleep, finish, wait_until

import cmp
from cmp import synchronize


def test_more_waiters_than_tickets_are_all_woken():
    condition, woken = cmp.Condition(), []
    many = 130

    def wait():
        with condition:
            assert condition.wait(LONG_S)
            woken.append(1)

    threads = [threading.Thread(target=wait) for _ in range(many)]
    for thread in threads:
        thread.start()
    wait_until(lambda: asleep(condition) == many)
    with condition:
        condition.notify(many - 5)
    wait_until(lambda: len(woken) == many - 5)
    with condition:
        condition.notify_all()
    for thread in threads:
        thread.join(LONG_S)
    assert len(woken) == many and asleep(condition) == 0


def test_more_processes_than_members_share_a_lock():
    lock, count = cmp.Lock(), cmp.RawValue("i", 0)

    def add():
        with lock:
            count.value += 1

    for _ in range(200):  # one after the other: the dead make room
        pid = os.fork()
        if pid == 0:
            add()
            os._exit(0)
        os.waitpid(pid, 0)
    assert count.value == 200


def mappings():
    return len(Path("/proc/self/maps").read_text().splitlines())


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_thousand_fork_locks_cost_no_descriptor_and_go_away():
    maps, fds = mappings(), descriptors()
    locks = [cmp.Lock() for _ in range(1000)]
    for lock in locks:
        with lock:
            pass
    assert descriptors() == fds
    del locks, lock
    gc.collect()
    assert mappings() <= maps + 5


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_locks_of_a_spawn_context_share_descriptors(method):
    fds = descriptors()
    context = cmp.get_context(method)
    locks = [context.Lock() for _ in range(600)]
    assert descriptors() <= fds + 3
    assert len({lock._where() for lock in locks}) == 600
    child = context.Process(target=acquire_all, args=(locks,))
    child.start()
    finish(child)
    assert not any(lock.acquire(False) for lock in locks)


def acquire_all(locks):
    for lock in locks:
        assert lock.acquire(False)
    # What was received does not leak into this child's own children.
    assert all(not os.get_inheritable(lock._where()[0].fileno()) for lock in locks)


def test_parent_and_forked_child_never_claim_the_same_cell():
    context = cmp.get_context("spawn")
    first = context.Lock()
    receiver, sender = cmp.Pipe(False)
    child = cmp.Process(target=lambda: sender.send([context.Lock()._where()[1] for _ in range(20)]))
    child.start()
    mine = [context.Lock() for _ in range(20)]
    theirs = receiver.recv()
    finish(child)
    receiver.close()
    sender.close()
    assert not {lock._where()[1] for lock in [first, *mine]}.intersection(theirs)


def test_cell_is_found_again_from_its_slab_and_index():
    lock = cmp.get_context("spawn").Lock()
    slab, index = lock._where()
    again = synchronize.Lock.__new__(synchronize.Lock)
    again.__setstate__((type(slab)(os.dup(slab.fileno())), index))
    with lock:
        assert not again.acquire(False)
    assert again.acquire(False) and not lock.acquire(False)
    other = synchronize.RLock.__new__(synchronize.RLock)
    with pytest.raises(RuntimeError, match="not shared memory of this version"):
        other.__setstate__((slab, index))
    with pytest.raises(TypeError):
        other.__setstate__((7, index))


@pytest.mark.parametrize(("number", "error"), [(-1, ValueError), (2**32, OverflowError), ("1", AttributeError)])
def test_slab_is_made_of_a_descriptor_s_number_only(number, error):
    slab, _ = cmp.get_context("spawn").Lock()._where()
    with pytest.raises(error):
        type(slab)(number)


@pytest.mark.parametrize("name", ["Lock", "RLock", "Semaphore", "Condition", "Event", "Barrier"])
def test_nothing_is_kept_alive(name):
    arguments = (1,) if name == "Barrier" else ()
    before = None
    for _ in range(3):
        for _ in range(300):
            thing = getattr(cmp, name)(*arguments)
            for method in ("acquire", "release", "wait_for", "set", "wait"):
                if hasattr(thing, method) and name != "Condition":
                    getattr(thing, method)()
            repr(thing)
        del thing
        gc.collect()
        now = len(gc.get_objects())
        if before is not None:
            assert now - before < 50
        before = now


def test_idle_waiters_cost_next_to_nothing():
    program = """
import cmp, os, threading, time
lock, event, condition = cmp.Lock(), cmp.Event(), cmp.Condition()
child = os.fork()
if child == 0:
    lock.__enter__()
    event.wait(100)
    os._exit(0)
while lock.acquire(False): lock.release()
threads = [threading.Thread(target=f, daemon=True) for f in (lock.__enter__, event.wait)]
for t in threads: t.start()
time.sleep(0.3)
begun = time.process_time(); time.sleep(2); print(time.process_time() - begun, flush=True)
event.set(); os.waitpid(child, 0)
os._exit(0)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LONG_S,
                           env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    # Two waiting threads for two seconds, on any machine: a spinning one would take all of them.
    assert float(ended.stdout.split()[0]) < 0.02
