"""What cmp's managers promise beyond the standard library's."""

from __future__ import annotations

import os
import pickle
import queue as threads_queue
import signal
import subprocess
import sys
import threading
import time

import pytest
from support.waiting import LONG_S, state_of, wait_until

import cmp


def alive(pid: int) -> bool:
    return state_of(pid) not in "ZX"


PARENT = """
import os, sys, cmp
from multiprocessing import util
if __name__ == "__main__" and len(sys.argv) > 2:
    util.get_temp_dir()  # a forked manager inherits it
manager = cmp.get_context(sys.argv[1]).Manager() if __name__ == "__main__" else None
if manager:
    print(manager._process.pid, flush=True)
    sys.stdin.read()
"""


def sockets(folder):
    return [path for path in folder.rglob("*") if path.is_socket()]


@pytest.mark.parametrize("method", ["fork", "spawn", "fork with a folder"])
def test_the_manager_ends_with_a_killed_parent_and_leaves_no_socket(tmp_path, method):
    script, temporary = tmp_path / "parent.py", tmp_path / "temporary"
    script.write_text(PARENT)
    temporary.mkdir()
    path = os.pathsep.join([os.path.dirname(os.path.dirname(cmp.__file__)), os.environ.get("PYTHONPATH", "")])
    parent = subprocess.Popen(
        [sys.executable, str(script), *method.split(maxsplit=1)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(temporary)},
        start_new_session=True,
    )
    try:
        pid = int(parent.stdout.readline())
        assert alive(pid)
        assert len(sockets(temporary)) == 1
        parent.kill()
        parent.wait(LONG_S)
        wait_until(lambda: not alive(pid))
        # A folder of the parent's own has nobody any more who would remove it.
        assert len(os.listdir(temporary)) == ("with a folder" in method)
        assert sockets(temporary) == []
    finally:
        parent.kill()
        parent.wait(LONG_S)
        parent.stdin.close()
        parent.stdout.close()


def calls_under(function) -> list[str]:
    """The files of the Python frames that a call runs."""
    files = []

    def note(frame, event, arg):
        if event == "call":
            files.append(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return files


def test_put_and_get_run_no_python():
    with cmp.Manager() as manager:
        queue = manager.Queue()

        def both():
            queue.put(1)
            queue.get()

        assert calls_under(both) == [__file__]


def test_a_client_maps_a_queue_once():
    with cmp.Manager() as manager:
        queue = manager.Queue()
        before = len(os.listdir("/proc/self/fd"))
        others = [pickle.loads(pickle.dumps(queue)) for _ in range(10)]
        assert len(os.listdir("/proc/self/fd")) == before
        assert all(other._attached is queue._attached for other in others)


def test_a_with_lock_of_a_killed_client_is_taken_over():
    with cmp.Manager() as manager:
        lock, inside = manager.Lock(), manager.Event()

        def hold():
            with lock:
                inside.set()
                signal.pause()

        process = cmp.Process(target=hold)
        process.start()
        assert inside.wait(LONG_S)
        process.kill()
        process.join(LONG_S)
        start = time.monotonic()
        with pytest.warns(cmp.AbandonedLockWarning, match=str(process.pid)), lock:
            pass
        assert time.monotonic() - start < LONG_S


@pytest.mark.parametrize("kind", ["Lock", "Semaphore", "Event", "Barrier"])
def test_whoever_waits_when_the_manager_is_killed_gets_eoferror(kind):
    manager = cmp.Manager()
    thing = getattr(manager, kind)(*{"Semaphore": [0], "Barrier": [2]}.get(kind, []))
    if kind == "Lock":
        thing.acquire()
    raised, waiting = [], threading.Event()

    def wait():
        waiting.set()
        try:
            (thing.wait if kind in ("Event", "Barrier") else thing.acquire)()
        except Exception as error:  # noqa: BLE001
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait()
    os.kill(manager._process.pid, signal.SIGKILL)
    manager._process.join(LONG_S)
    thread.join(LONG_S)
    assert not thread.is_alive()
    assert isinstance(raised[0], (EOFError, ConnectionError))
    manager.shutdown()


def test_a_killed_client_takes_no_item_with_it():
    with cmp.Manager() as manager:
        queue = manager.Queue()

        def put_for_ever():
            number = 0
            while True:
                queue.put(number)
                number += 1

        process = cmp.Process(target=put_for_ever)
        process.start()
        wait_until(lambda: queue.qsize() > 100)
        process.kill()
        process.join(LONG_S)
        items = [queue.get_nowait() for _ in range(queue.qsize())]
        assert items == list(range(len(items)))


def test_garbage_and_a_wrong_key_reach_nothing():
    from multiprocessing.connection import Client

    with cmp.Manager() as manager:
        queue = manager.Queue()
        with pytest.raises(cmp.AuthenticationError):
            Client(manager.address, authkey=b"wrong")
        conn = Client(manager.address)  # no authentication: the server waits for the answer to its challenge
        conn.send_bytes(b"garbage")
        conn.close()
        queue.put(1)
        assert queue.get() == 1
        assert os.stat(os.path.dirname(manager.address)).st_mode & 0o077 == 0


def hold_references(queue, event):
    copies = [pickle.loads(pickle.dumps(queue)) for _ in range(3)]
    event.set()
    copies[0].get()


def test_references_of_a_killed_client_are_given_back():
    with cmp.Manager() as manager:
        queue = manager.Queue()
        for _ in range(3):
            ready = cmp.Event()
            client = cmp.Process(target=hold_references, args=(queue, ready), daemon=True)
            client.start()
            assert ready.wait(LONG_S)
            client.kill()
            client.join()
        wait_until(lambda: "refcount=1\n" in manager._debug_info())
        queue.put("still there")
        assert queue.get() == "still there"
        del queue
        assert manager._number_of_objects() == 0


def count_tasks_with(queue) -> int:
    seen = vars(queue._attached)
    seen["tasks"] = seen.get("tasks", 0) + 1
    return seen["tasks"]


def test_a_worker_that_gets_a_queue_with_each_task_attaches_it_once():
    with cmp.Pool(1) as pool, cmp.Manager() as manager:
        queue = manager.Queue()
        assert [pool.apply(count_tasks_with, (queue,)) for _ in range(5)] == [1, 2, 3, 4, 5]
        assert "refcount=2\n" in manager._debug_info()  # ours, and one for all the worker's proxies
        pool.close()
        pool.join()
        wait_until(lambda: "refcount=1\n" in manager._debug_info())
        del queue
        assert manager._number_of_objects() == 0


def attach_many(queues) -> int:
    return len(cmp.proxies._kept)


def test_a_worker_keeps_only_the_latest_queues():
    with cmp.Pool(1) as pool, cmp.Manager() as manager:
        queues = [manager.Queue() for _ in range(20)]
        assert pool.apply(attach_many, (queues,)) == 16


def test_the_end_of_a_managed_queue_may_outlive_it():
    with cmp.Manager() as manager:
        queue = manager.Queue()
        end = queue._reader
        queue.put("there")
        del queue
        assert end.poll(0) and end.recv() == "there"
    with pytest.raises(EOFError):
        end.poll(LONG_S)


def test_proxies_that_travel_in_a_queue_leave_no_reference_behind():
    with cmp.Manager() as manager:
        queue = manager.Queue(2)
        before = manager._number_of_objects()
        for _ in range(3):
            queue.put(manager.dict())
            queue.put([manager.Queue(), manager.Queue()])
            kept = manager.list()
            with pytest.raises(threads_queue.Full):
                queue.put(kept, timeout=0.01)
            with pytest.raises((AttributeError, pickle.PicklingError)):  # the latter from 3.14 on
                queue.put([kept, lambda: 1])
            del kept
            assert manager._number_of_objects() == before + 3
            queue.get(), queue.get()
            assert manager._number_of_objects() == before


def test_a_proxy_of_a_manager_that_is_gone_can_be_put_into_another_s_queue():
    gone = cmp.Manager()
    orphan = gone.dict()
    gone.shutdown()
    with cmp.Manager() as manager:
        queue = manager.Queue()
        queue.put(orphan)
        with pytest.raises(OSError):
            queue.get()


def test_a_life_that_is_in_use_stays_where_it_is():
    life = cmp._core.Life()
    life.begin()
    with pytest.raises(RuntimeError, match="in use already"):
        life.begin()
    assert life.is_on()
