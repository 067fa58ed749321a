"""Lines of docs/DIFFERENCES.md that no other test holds."""

from __future__ import annotations

import inspect
import os
import pickle
import queue
import re
import select
import subprocess
import sys
import threading
import time
import traceback
from multiprocessing import process, reduction
from pathlib import Path
from unittest import mock

import pytest
from support.places import child_environment

import cmp

TESTS = Path(__file__).resolve().parents[1]


def test_every_line_names_tests_that_exist():
    text = (TESTS.parent / "docs" / "DIFFERENCES.md").read_text()
    folder, named = None, 0
    for file, c_file, test in re.findall(r"`(?:([a-z/_]+\.py)?::|(c/\w+\.c): )(\w+)`", text):
        folder = c_file or file or folder
        kind = rf"TEST\({test}\)" if folder.endswith(".c") else rf"def {test}\("
        assert re.search(kind, (TESTS / folder).read_text()), f"{folder} has no {test}"
        named += 1
    lines = re.findall(r"^\| \*\*D(\d+)\*\*.*", text, re.MULTILINE)
    assert sorted(map(int, lines)) == list(range(1, len(lines) + 1))
    assert named > len(lines)


def test_default_size_of_a_pool_follows_affinity():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        with cmp.Pool() as pool:
            assert pool._processes == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_barrier_is_a_type_of_its_own():
    assert not isinstance(cmp.Barrier(2), threading.Barrier)
    public = {name for name in dir(threading.Barrier) if not name.startswith("_")}
    assert public <= set(dir(cmp.Barrier(2)))


def test_barrier_has_at_most_65535_parties():
    assert cmp.Barrier(65535).parties == 65535
    with pytest.raises(ValueError, match="at most 65535 parties"):
        cmp.Barrier(65536)


def test_infinite_timeout_waits():
    lock = cmp.Lock()
    lock.acquire()
    release = threading.Timer(0.05, lock.release)  # later than the wait begins
    release.start()
    assert lock.acquire(timeout=float("inf")) is True
    release.join()


def test_condition_has_no_private_counters():
    assert not {"_sleeping_count", "_woken_count", "_wait_semaphore"} & set(dir(cmp.Condition()))


def test_proxy_of_a_queue_is_a_class_of_its_own():
    with cmp.Manager() as manager:
        assert type(manager.Queue()) is cmp.managers.QueueProxy
        assert type(manager.JoinableQueue()) is cmp.managers.QueueProxy


LOGGED = """
import logging, os, cmp
cmp.log_to_stderr(logging.DEBUG)
queue, lock = cmp.Queue(), cmp.Lock()
queue.put(1)
with cmp.Pool(1) as pool:
    pool.map(abs, [1])
    pool.close()
    pool.join()
process = cmp.Process(target=os.getpid, name="child")
process.start()
process.join()
"""


def test_logger_tells_of_processes_and_not_of_queues_and_pools():
    done = subprocess.run(
        [sys.executable, "-c", LOGGED], capture_output=True, text=True, timeout=150, env=child_environment()
    )
    lines = done.stderr.splitlines()
    assert "[INFO/child] child process calling self.run()" in lines
    assert "[INFO/child] process exiting with exitcode 0" in lines
    own = [line for line in lines if line.startswith("[DEBUG/MainProcess]")]
    assert own and all("finalizers" in line for line in own)


@pytest.mark.parametrize("block", [1, "x", [0], 0.5])
def test_block_is_whatever_is_true(block):
    assert cmp.Lock().acquire(block) is True
    with pytest.raises(queue.Empty):
        cmp.Queue().get(not block)


def test_maxsize_may_be_beyond_a_semaphores():
    items = cmp.Queue(1 << 40)
    items.put(1)
    assert not items.full()
    assert items.get() == 1
    items.close()


class Protocol:
    """Arrives as the number of the protocol that it was pickled by."""

    def __reduce_ex__(self, protocol):
        return int, (protocol,)


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_queues_pickle_by_protocol_5(kind):
    there = getattr(cmp, kind)()
    there.put(Protocol())
    assert there.get() == 5
    there.close()


@pytest.mark.parametrize("size", [10, 4095, 4096, 1 << 20])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_pickle_buffer_arrives_as_bytes_like(kind, size):
    there = cmp.SimpleQueue()
    there.put(pickle.PickleBuffer(kind(size)))
    arrived = there.get()
    assert bytes(memoryview(arrived)) == bytes(size)
    if size < 4096:
        assert type(arrived) is kind
    else:
        assert not memoryview(arrived).readonly or kind is bytes
    there.close()


def test_imap_of_no_iterable_raises_at_once():
    with cmp.Pool(1) as pool:
        for call in (pool.imap, pool.imap_unordered):
            with pytest.raises(TypeError, match="not iterable"):
                call(abs, 3)


def test_arrays_that_have_travelled_do_not_own_their_memory():
    np = pytest.importorskip("numpy")
    items = cmp.SimpleQueue()
    items.put(np.arange(5))
    array = items.get()
    assert not array.flags.owndata and array.flags.writeable
    with pytest.raises(ValueError, match="own"):
        array.resize(7)
    assert np.resize(array, 7).tolist() == [0, 1, 2, 3, 4, 0, 1]


def stop(_):
    raise StopIteration("enough")


def test_stop_iteration_of_a_mapped_function_is_its_error():
    with cmp.Pool(1) as pool:
        with pytest.raises(StopIteration, match="enough"):
            pool.map(stop, range(3), 1)
        with pytest.raises(StopIteration, match="enough"):
            pool.imap(stop, range(3), 2).next()


def test_rlock_held_at_a_bare_fork_is_the_parents():
    lock = cmp.RLock()
    with lock:
        pid = os.fork()
        if pid == 0:
            os._exit(lock.acquire(False))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert lock._semlock._is_mine()


def files_below():
    """The files that the frames below are of."""
    return {Path(frame.f_code.co_filename).name for frame, _ in traceback.walk_stack(None)}


def test_no_frames_of_its_own_beneath_a_target_and_a_task():
    files = cmp.SimpleQueue()
    process = cmp.Process(target=lambda: files.put(files_below()))
    process.start()
    process.join()
    with cmp.Pool(1) as pool:
        below = files.get() | pool.apply(files_below)
        with pytest.raises(StopIteration) as failure:
            pool.apply(stop, [0])
    assert Path(__file__).name in below and not {"process.py", "pool.py"} & below
    assert str(failure.value.__cause__).count("  File ") == 1


def test_nothing_is_named_that_is_not_there():
    with cmp.Pool(1) as pool:
        results = pool.apply_async(abs, (1,)), pool.map_async(abs, [1]), pool.imap(abs, [1])
        assert [hasattr(pool, name) for name in ("_worker_handler", "_inqueue", "_state", "_cache")] == [0, 0, 1, 1]
        assert [hasattr(result, "_number_left") for result in results] == [0, 1, 0]
        assert not any(hasattr(result, name) for result in results for name in ("_event", "_callback", "_items"))


def never(*_args):
    raise AssertionError("this is not to be called")


def test_functions_beneath_a_pool_are_not_called(monkeypatch):
    monkeypatch.setattr(cmp.pool, "worker", never, raising=False)
    monkeypatch.setattr(cmp.pool, "mapstar", never, raising=False)
    with cmp.Pool(1) as pool:
        assert pool.map(abs, [-1]) == [1]


def test_builtin_types_need_no_pickler(monkeypatch):
    monkeypatch.setattr(reduction.ForkingPickler, "dumps", never)
    simple = cmp.SimpleQueue()
    simple.put([1, "two", b"3", {4.0: (None, {True})}])
    assert simple.get() == [1, "two", b"3", {4.0: (None, {True})}]
    with pytest.raises(AssertionError, match="not to be called"):
        simple.put([Path()])
    simple.close()


def test_waits_go_through_no_function_that_can_be_replaced(monkeypatch):
    full = cmp.Queue()
    child = cmp.Process(target=full.put, args=(1,))
    child.start()
    with monkeypatch.context() as patch:
        for module, name in ((os, "waitpid"), (select, "poll"), (time, "sleep")):
            patch.setattr(module, name, never)
        assert full.get(timeout=100) == 1
        child.join()
    assert child.exitcode == 0
    full.close()


def test_mocks_do_not_know_how_c_is_called():
    with mock.patch.object(cmp.Process, "start", autospec=True) as start:
        cmp.Process().start()
    start.assert_called_once_with()
    assert str(inspect.signature(cmp.Process.start)) == "(self, /)"


def test_patch_that_calls_its_own_name_goes_to_cmp(monkeypatch):
    heard = []

    def join(self, timeout=None):
        heard.append(timeout)
        return self.join(100)

    monkeypatch.setattr(process.BaseProcess, "join", join)
    child = cmp.Process()
    child.start()
    child.join()
    assert (child.exitcode, heard) == (0, [None])
