"""A manager that dies, stands still or starts anew; clients that do: whoever waits is told, and nothing stays."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import queue as threads_queue
import select
import signal
import socket
import tempfile
import threading
import time
from multiprocessing import managers as stdlib_managers
from multiprocessing import process

import pytest

import cmp
from cmp import proxies

LONG_S = 20
ENDED = (EOFError, ConnectionError)


def wait_until(fact) -> None:
    deadline = time.monotonic() + LONG_S
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def state_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """What managers leave of the folders that they make for their sockets."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(process.current_process()._config, "tempdir", None)
    return lambda: os.listdir(tmp_path)


# ---- whoever waits when the manager dies ----


class Slow:
    """Registered with a manager: a call that does not come back."""

    def wait(self):
        threading.Event().wait()


class Manager(cmp.managers.SyncManager):
    """A SyncManager with things that users register."""


Manager.register("Slow", Slow)
Manager.register("PlainQueue", threads_queue.Queue)


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
    "Pool.apply": lambda m: lambda p=m.Pool(1): p.apply(signal.pause),
    "AsyncResult.get": lambda m: lambda r=m.Pool(1).apply_async(signal.pause): r.get(),
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
    wait_until(lambda: len(tids) == len(calls) and all(state_of(tid) == "S" for tid in tids.values()))
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


class Parent:
    """Registered with a manager: starts a process in the manager that outlives it."""

    def start(self):
        child = cmp.Process(target=signal.pause)
        child.start()
        return child.pid


Manager.register("Parent", Parent)


def test_a_child_of_the_manager_does_not_keep_its_clients_waiting():
    """Sockets that the child inherited would stay open: blocked calls would go on, and new clients would connect."""
    manager = Manager()
    manager.start()
    slow, numbers = manager.Slow(), manager.list()
    came = []

    def wait():
        try:
            slow.wait()
        except ENDED as error:
            came.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    wait_until(lambda: state_of(thread.native_id) == "S")
    child = manager.Parent().start()
    try:
        os.kill(manager._process.pid, signal.SIGKILL)
        thread.join(LONG_S)
        assert came
        with pytest.raises((*ENDED, FileNotFoundError)):
            manager.list()
        with pytest.raises(ENDED):
            len(numbers)
        assert state_of(child) == "S"
    finally:
        os.kill(child, signal.SIGKILL)
    manager.shutdown()


def test_workers_of_a_manager_s_pool_end_with_it():
    manager = cmp.Manager()
    pool = manager.Pool(2)
    workers = set(pool.map(get_pid, range(20), 1))
    os.kill(manager._process.pid, signal.SIGKILL)
    wait_until(lambda: all(state_of(pid) in "ZX" for pid in workers))
    manager.shutdown()


def get_pid(_):
    return os.getpid()


# ---- start and end ----


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_manager_that_dies_as_it_starts_is_an_error():
    manager = cmp.managers.SyncManager()
    with pytest.raises(EOFError):
        manager.start(die)
    manager._process.join(LONG_S)


class Interrupted(BaseException):
    pass


@pytest.fixture
def interrupted():
    """with interrupted: what is done in there is interrupted soon."""

    @contextlib.contextmanager
    def soon():
        with pytest.raises(Interrupted):
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            yield

    def interrupt(*_):
        raise Interrupted

    previous = signal.signal(signal.SIGALRM, interrupt)
    yield soon()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


def test_a_manager_whose_start_is_interrupted_is_ended(interrupted):
    manager = cmp.managers.SyncManager()
    with interrupted:
        manager.start(signal.pause)
    assert not manager._process.is_alive()


def test_a_manager_whose_shutdown_is_interrupted_is_ended(interrupted, folders):
    manager = cmp.managers.SyncManager(shutdown_timeout=LONG_S)
    manager.start()
    os.kill(manager._process.pid, signal.SIGSTOP)
    with interrupted:
        manager.shutdown()
    assert not manager._process.is_alive()
    assert folders() == []


@pytest.mark.parametrize("signs", [[signal.SIGSTOP], [signal.SIGSTOP, signal.SIGTERM]])
def test_shutdown_ends_a_manager_that_stands_still(signs, folders):
    manager = cmp.managers.SyncManager(shutdown_timeout=0.2)
    manager.start()
    pid = manager._process.pid
    for sign in signs:
        os.kill(pid, sign)
    manager.shutdown()
    assert state_of(pid) == "X"
    assert folders() == []


def ignore_sigterm():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Timer(3600, print).start()  # not a daemon: the process waits for it when it ends


def test_shutdown_ends_a_manager_that_does_not_want_to():
    manager = cmp.managers.SyncManager(shutdown_timeout=0.2)
    manager.start(ignore_sigterm)
    pid = manager._process.pid
    manager.shutdown()
    assert state_of(pid) == "X"


def test_shutdown_ends_among_stopped_and_killed_clients():
    with cmp.Manager() as manager:
        queue, numbers, slow = manager.Queue(), manager.list(), manager.Event()
        clients = [cmp.Process(target=use_for_ever, args=(queue, numbers), daemon=True) for _ in range(4)]
        for client in clients:
            client.start()
        wait_until(lambda: len(numbers) > 20)
        signs = [signal.SIGSTOP, signal.SIGSTOP, signal.SIGKILL, signal.SIGKILL]
        for client, sign in zip(clients, signs, strict=True):
            os.kill(client.pid, sign)
        del slow
    assert state_of(manager._process.pid) == "X"
    for client in clients:
        client.kill()
        client.join(LONG_S)


def use_for_ever(queue, numbers):
    while True:
        numbers.append(1)
        queue.put(len(numbers))
        queue.get()


def test_a_killed_manager_leaves_no_folder_after_its_shutdown(folders):
    with cmp.Manager() as manager:
        assert len(folders()) == 1
        os.kill(manager._process.pid, signal.SIGKILL)
        manager._process.join(LONG_S)
    assert folders() == []


# ---- who serves ----


def serve(path, theirs):
    server = cmp.managers.SyncManager(path, b"key").get_server()
    theirs.send("there")
    server.serve_forever()


def serve_as_the_stdlib_does(path, theirs):
    server = stdlib_managers.SyncManager(path, b"key").get_server()
    theirs.send("there")
    server.serve_forever()


def serve_what_the_parent_made(server, theirs):
    theirs.send("there")
    server.serve_forever()


@pytest.mark.parametrize("how", [serve, serve_as_the_stdlib_does, serve_what_the_parent_made])
def test_a_client_of_a_server_somebody_else_runs(how, tmp_path):
    path = str(tmp_path / "socket")
    ours, theirs = cmp.Pipe(duplex=False)
    what = path
    if how is serve_what_the_parent_made:
        what = cmp.managers.SyncManager(path, b"key").get_server()
        os.link(path, path + "2")
    server = cmp.Process(target=how, args=(what, theirs))
    server.start()
    assert ours.recv() == "there"
    if what is not path:
        what.listener.close()  # ours; or it would look as if there were a server even when the other has ended
        os.link(path + "2", path)
    manager = cmp.managers.SyncManager(path, b"key")
    manager.connect()
    queue, lock = manager.Queue(), manager.Lock()
    with lock:
        queue.put("x")
    assert queue.get(timeout=LONG_S) == "x"
    assert (queue._attached is None) == (how is serve_as_the_stdlib_does)
    server.kill()
    server.join(LONG_S)
    with pytest.raises((*ENDED, FileNotFoundError)):
        queue.get()
    ours.close()
    theirs.close()


def test_a_client_that_speaks_xml_goes_through_the_server():
    manager = cmp.managers.SyncManager(serializer="xmlrpclib")
    manager.start()
    with manager:
        queue = manager.Queue()
        queue.put("x")
        assert queue.get() == "x"
        del queue


# ---- idents and addresses that are used again ----


def test_a_forked_child_knows_a_new_queue_with_an_old_one_s_ident():
    with cmp.Manager() as manager:
        proxies.started_here.clear()  # as in a worker: what came in a pickle is kept for the next
        made = manager.Queue()
        old = pickle.loads(pickle.dumps(made))
        ident = old._id
        del made, old
        ours, theirs = cmp.Pipe()

        def child():
            theirs.recv().put("for the new one")
            theirs.recv()

        process = cmp.Process(target=child)
        process.start()
        proxies._kept.clear()
        gc.collect()
        wait_until(lambda: manager._number_of_objects() == 0)
        others = []
        while not others or others[-1]._id != ident:
            others.append(manager.Queue())
            if len(others) == 200 and others[-1]._id != ident:
                others.clear()
                process.kill()
                process.join()
                ours.close()
                theirs.close()
                pytest.skip("the manager does not use its memory again")
        ours.send(others[-1])
        assert others[-1].get(timeout=LONG_S) == "for the new one"
        ours.send("end")
        process.join(LONG_S)
        ours.close()
        theirs.close()
        del others


def test_a_dead_manager_s_objects_are_not_taken_for_its_successor_s(tmp_path):
    path = str(tmp_path / "socket")
    manager = cmp.managers.SyncManager(path)
    manager.start()
    queue = manager.Queue()
    key = path, queue._id
    assert proxies._current(key) is queue._attached
    os.kill(manager._process.pid, signal.SIGKILL)
    manager._process.join(LONG_S)
    assert proxies._current(key) is None
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(path)
        successor.listen()
        del queue
        gc.collect()
        assert select.select([successor], [], [], 0)[0] == [], "the successor was asked about it"
    manager.shutdown()


# ---- what the dead held ----


class Inside:
    """Registered with a manager: looks at the server."""

    def ended_and_known(self) -> tuple[int, int]:
        clients = process.current_process()._manager_server._clients
        return len(clients._ended.poll(0)), len(clients._held)


Manager.register("Inside", Inside)


def hold(queue, theirs):
    copies = [pickle.loads(pickle.dumps(queue)) for _ in range(3)]
    theirs.send(len(copies))
    signal.pause()


def test_a_dead_client_is_forgotten_though_a_child_of_the_manager_knows_it_too():
    """The child inherits the descriptor by which the manager watches the client."""
    with Manager() as manager:
        queue, inside = manager.Queue(), manager.Inside()
        ours, theirs = cmp.Pipe(duplex=False)
        client = cmp.Process(target=hold, args=(queue, theirs), daemon=True)
        client.start()
        ours.recv()
        child = manager.Parent().start()
        try:
            client.kill()
            client.join(LONG_S)
            wait_until(lambda: inside.ended_and_known() == (0, 1))
        finally:
            os.kill(child, signal.SIGKILL)
        ours.close()
        theirs.close()


def test_an_object_that_fails_at_its_end_does_not_keep_the_other_references_of_the_dead(monkeypatch):
    given_back = []

    def give_back(ident):
        given_back.append(ident)
        if ident == "bad":
            raise RuntimeError

    monkeypatch.setattr(threading.Thread, "start", lambda thread: None)  # nobody is to be buried meanwhile
    clients = cmp.server.Clients(give_back)
    near, far = socket.socketpair()
    with near, far:
        for ident in ("bad", "good", "bad", "other"):
            clients.took(near, ident)
    clients._forget(os.getpid())
    assert sorted(given_back) == ["bad", "bad", "good", "other"]
