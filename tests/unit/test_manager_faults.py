"""A manager that dies while others wait: every call ends, of other processes too."""

from __future__ import annotations

import os
import signal
import threading
import time
from multiprocessing import connection, managers

import pytest
from support import deaf
from support.children import started
from support.managers import ENDED, Manager, OwnListener, fork_at_each_client
from support.waiting import LONG_S, finish, state_of, wait_until

import cmp


def full(queue):
    queue.put(1)
    return queue


def unfinished(queue):
    queue.put(1)
    return queue


def taken(lock):
    """Held by another thread, which has ended."""
    thread = threading.Thread(target=lock.acquire)
    thread.start()
    thread.join()
    return lock


def in_condition(condition, call):
    with condition:
        call(condition)


WAITS = {
    "Queue.get": lambda m: m.Queue().get,
    "Queue.get with a timeout": lambda m: lambda q=m.Queue(): q.get(timeout=LONG_S * 5),
    "Queue.put": lambda m: lambda q=full(m.Queue(1)): q.put(2),
    "Queue.join": lambda m: unfinished(m.Queue()).join,
    "JoinableQueue.join": lambda m: unfinished(m.JoinableQueue()).join,
    "Lock.acquire": lambda m: taken(m.Lock()).acquire,
    "Lock.acquire with a timeout": lambda m: lambda lock=taken(m.Lock()): lock.acquire(True, LONG_S * 5),
    "RLock.acquire": lambda m: taken(m.RLock()).acquire,
    "with Lock": lambda m: taken(m.Lock()).__enter__,
    "Semaphore.acquire": lambda m: m.Semaphore(0).acquire,
    "BoundedSemaphore.acquire": lambda m: taken(m.BoundedSemaphore(1)).acquire,
    "Condition.wait": lambda m: lambda c=m.Condition(): in_condition(c, lambda c: c.wait()),
    "Condition.wait_for": lambda m: lambda c=m.Condition(): in_condition(c, lambda c: c.wait_for(lambda: False)),
    "Condition.acquire": lambda m: taken(m.Condition()).acquire,
    "Event.wait": lambda m: m.Event().wait,
    "Barrier.wait": lambda m: m.Barrier(2).wait,
    "Pool.apply": lambda m: lambda p=m.Pool(1): p.apply(time.sleep, (LONG_S * 5,)),
    "AsyncResult.get": lambda m: lambda r=m.Pool(1).apply_async(time.sleep, (LONG_S * 5,)): r.get(),
    "a registered object": lambda m: m.Slow().wait,
    "a registered queue.Queue": lambda m: m.PlainQueue().get,
}


DEATHS = {
    "SIGKILL": [signal.SIGKILL],
    "stopped, then SIGKILL": [signal.SIGSTOP, signal.SIGKILL],
    "SIGTERM": [signal.SIGTERM],
}


@pytest.mark.parametrize("address", [None, ("127.0.0.1", 0)], ids=["unix", "tcp"])
@pytest.mark.parametrize("death", DEATHS)
def test_every_blocked_call_ends_with_a_manager_that_is_killed(death, address):
    manager = Manager(address)
    manager.start()
    calls = {name: make(manager) for name, make in WAITS.items()}
    came: dict[str, object] = {}
    tids: dict[str, int] = {}

    def wait(name):
        tids[name] = threading.get_native_id()
        try:
            came[name] = calls[name]()
        except BaseException as error:  # noqa: BLE001
            came[name] = error

    threads = [threading.Thread(target=wait, args=(name,), daemon=True) for name in calls]
    for thread in threads:
        thread.start()
    pid = manager._process.pid
    wait_until(lambda: came or (len(tids) == len(calls) and all(state_of(tid) == "S" for tid in tids.values())))
    assert came == {}
    for sign in DEATHS[death]:
        os.kill(pid, sign)
    for thread in threads:
        thread.join(LONG_S)
    assert {name for name in calls if name not in came} == set(), "these still wait"
    assert {name: error for name, error in came.items() if not isinstance(error, ENDED)} == {}
    calls.clear()
    del threads
    manager.shutdown()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_calls_of_other_processes_end_too(method):
    context = cmp.get_context(method)
    manager = Manager(ctx=context)
    manager.start()
    queue, lock, event = manager.Queue(), manager.Lock(), manager.Event()
    lock.acquire()
    ends = []
    for call in (queue.get, lock.acquire, event.wait):
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=call_and_tell, args=(call, theirs))
        child.start()
        theirs.close()
        ends.append((ours, child))
    for ours, _ in ends:
        assert ours.recv() == "calling"
    os.kill(manager._process.pid, signal.SIGKILL)
    for ours, child in ends:
        assert ours.poll(LONG_S), "it still waits"
        assert isinstance(ours.recv(), ENDED)
        child.join(LONG_S)
        assert child.exitcode == 0
        ours.close()
    manager.shutdown()


def call_and_tell(call, theirs):
    theirs.send("calling")
    try:
        theirs.send(call())
    except Exception as error:  # noqa: BLE001
        theirs.send(error)


@pytest.mark.parametrize("address", [None, ("127.0.0.1", 0)], ids=["unix", "tcp"])
@pytest.mark.parametrize("birth", ["start", "fork", "a thread's, at each client"])
def test_a_child_of_the_manager_does_not_keep_its_clients_waiting(birth, address):
    """Sockets that the child inherited would stay open: blocked calls would go on, and new clients would connect."""
    manager = Manager(address)
    manager.start(fork_at_each_client if birth.startswith("a thread") else None)
    slow, numbers, parent = manager.Slow(), manager.list(), manager.Parent()
    came = []

    def wait():
        try:
            slow.wait()
        except ENDED as error:
            came.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    wait_until(lambda: state_of(thread.native_id) == "S")
    if hasattr(parent, birth):
        getattr(parent, birth)()
    children = parent.children()
    assert children
    try:
        os.kill(manager._process.pid, signal.SIGKILL)
        thread.join(LONG_S)
        assert came
        with pytest.raises((*ENDED, FileNotFoundError)):
            manager.list()
        with pytest.raises(ENDED):
            len(numbers)
        wait_until(lambda: {state_of(child) for child in children} == {"S"})
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
    manager.shutdown()


def test_manager_with_a_listener_of_its_user_s_own_lets_forks_be_while_nobody_comes(monkeypatch):
    monkeypatch.setitem(managers.listener_client, "own", (OwnListener, connection.Client))
    with Manager(serializer="own") as manager:
        inside = manager.Inside()
        assert [inside.may_fork() for _ in range(3)] == [1, 1, 1]


def test_process_that_an_object_has_forked_does_not_answer_for_it():
    with Manager() as manager:
        parent, numbers = manager.Parent(), manager.list([7])
        assert parent.fork_and_return_twice() > 0
        assert [numbers[0], len(numbers)] == [7, 1]


def have_a_manager(method, initializer, told):
    manager = Manager(("127.0.0.1", 0), ctx=cmp.get_context(method))  # another user may not write into our folder
    manager.start(initializer)
    told.send(manager._process.pid)
    signal.pause()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("initializer", deaf.WAYS)
def test_manager_ends_with_a_killed_parent_whatever_it_did_to_its_signals(method, initializer):
    heard, told = cmp.Pipe(False)
    with heard, told:
        parent = cmp.get_context(method).Process(target=have_a_manager, args=(method, initializer, told))
        parent.start()
        told.close()
        manager = heard.recv()
        parent.kill()
        parent.join()
        wait_until(lambda: state_of(manager) in "XZ")


def test_workers_of_a_manager_s_pool_end_with_it():
    manager = cmp.Manager()
    pool = manager.Pool(2)
    workers = set(pool.map(get_pid, range(20), 1))
    os.kill(manager._process.pid, signal.SIGKILL)
    wait_until(lambda: all(state_of(pid) in "ZX" for pid in workers))
    manager.shutdown()


def get_pid(_):
    return os.getpid()


def test_start_of_a_manager_that_dies_early_ends_though_a_process_was_started_meanwhile(monkeypatch):
    """As by another thread, a pool's say, which starts one while the manager's pipe is open."""
    other = cmp.Process(target=signal.pause)
    start = cmp.context.ForkProcess.start

    def start_and_start_another(process):
        start(process)
        if not other.pid:
            other.start()

    monkeypatch.setattr(cmp.context.ForkProcess, "start", start_and_start_another, raising=False)
    try:
        with pytest.raises(EOFError):
            Manager().start(os._exit, (3,))
    finally:
        other.kill()
        other.join()


def test_process_forked_as_the_manager_s_pipe_closes_keeps_what_has_got_its_number(monkeypatch):
    """Who closes it knows of that only after another thread may have opened something else, and forked."""
    me, file, heirs = os.getpid(), open(os.devnull), []
    close = connection.Connection._close

    def close_and_reuse(conn):
        number = conn.fileno()
        close(conn)
        if os.getpid() == me and not heirs:
            assert os.dup(file.fileno()) == number
            heirs.append(started(cmp, os.fstat, number))
            os.close(number)

    monkeypatch.setattr(connection.Connection, "_close", close_and_reuse)
    with file, Manager():
        finish(*heirs)
