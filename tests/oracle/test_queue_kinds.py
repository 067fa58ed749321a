"""What JoinableQueue and SimpleQueue have of their own, and the ends of both; each test runs on both."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from support.waiting import LONG_S, SHORT_S, finish

# --- JoinableQueue ---


def test_task_done_too_often_is_a_value_error(mp):
    q = mp.JoinableQueue()
    with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
        q.task_done()
    q.put(1)
    q.get(timeout=LONG_S)
    q.task_done()
    with pytest.raises(ValueError):
        q.task_done()


def work(q):
    for _ in iter(q.get, None):
        q.task_done()
    q.task_done()


def test_join_returns_when_all_is_done(mp):
    q = mp.JoinableQueue()
    q.join()
    workers = [mp.Process(target=work, args=(q,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for i in range(40):
        q.put(i)
    q.join()
    assert q.empty()
    for _ in workers:
        q.put(None)
    q.join()
    finish(*workers)


def take_and_die(q):
    q.get()
    os.kill(os.getpid(), signal.SIGKILL)


def test_item_whose_taker_died_keeps_join_waiting(mp):
    q = mp.JoinableQueue()
    q.put(1)
    child = mp.Process(target=take_and_die, args=(q,))
    child.start()
    child.join(LONG_S)
    joined = threading.Event()
    thread = threading.Thread(target=lambda: (q.join(), joined.set()))
    thread.start()
    assert not joined.wait(SHORT_S)
    q.task_done()
    assert joined.wait(LONG_S)
    thread.join(LONG_S)


class FailsToUnpickle:
    def __reduce__(self):
        return divmod, (1, 0)


def test_item_that_does_not_unpickle_is_its_taker_s_to_be_done(mp):
    q = mp.JoinableQueue()
    q.put(FailsToUnpickle())
    with pytest.raises(ZeroDivisionError):
        q.get(timeout=LONG_S)
    q.task_done()
    q.join()
    with pytest.raises(ValueError):
        q.task_done()


def test_join_waits(mp):
    q = mp.JoinableQueue()
    q.put(1)
    joined = threading.Event()
    thread = threading.Thread(target=lambda: (q.join(), joined.set()))
    thread.start()
    q.get(timeout=LONG_S)
    assert not joined.wait(SHORT_S)
    q.task_done()
    assert joined.wait(LONG_S)
    thread.join(LONG_S)


# --- SimpleQueue ---


def test_simple_queue_gives_what_was_put(mp):
    q = mp.SimpleQueue()
    assert q.empty()
    q.put([1, 2])
    q.put(obj="x")
    assert not q.empty()
    assert q.get() == [1, 2] and q.get() == "x" and q.empty()
    with pytest.raises(TypeError):
        q.get(timeout=1)


def test_closed_simple_queue_is_an_os_error(mp):
    q = mp.SimpleQueue()
    q.close()
    assert q._reader.closed and q._writer.closed
    for call in (q.empty, q.get, lambda: q.put(1)):
        with pytest.raises(OSError, match="handle is closed"):
            call()
    q.close()


# --- the ends ---


def test_reader_can_be_waited_for(mp):
    from multiprocessing.connection import wait

    q = mp.SimpleQueue()
    assert wait([q._reader], timeout=0) == []
    child = mp.Process(target=q.put, args=("x",))
    child.start()
    assert wait([q._reader], timeout=LONG_S) == [q._reader]
    assert q._reader.recv() == "x"
    assert wait([q._reader], timeout=0) == []
    finish(child)


def test_reader_stays_readable_while_items_are_left(mp):
    from multiprocessing.connection import wait

    q = mp.SimpleQueue()
    for i in range(3):
        q.put(i)
    for i in range(3):
        assert wait([q._reader], timeout=LONG_S) == [q._reader]
        assert q._reader.poll() is True
        assert q._reader.recv() == i
    assert q._reader.poll() is False
    assert wait([q._reader], timeout=0) == []


def test_ends_know_whether_they_are_closed(mp):
    q = mp.Queue()
    assert not q._reader.closed and not q._writer.closed
    assert q._reader is q._reader
    assert isinstance(q._reader.fileno(), int)
    q._reader.close()
    assert q._reader.closed
    with pytest.raises(OSError):
        q._reader.fileno()
