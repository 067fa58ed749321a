"""Pool: results and iterators that several threads use at the same time, and code that looks at what is half made."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from support import alone
from support.waiting import wait_until

import cmp

pytestmark = pytest.mark.timeout(180)

# With the debug hooks memory that was given back is overwritten: who reads it on is found out.
GET_TWICE = """
import threading
import cmp

meeting = threading.Barrier(2)
values = []


class Met:
    def __setstate__(self, state):
        meeting.wait(100)


def make(size):
    met = Met()
    met.something = True
    return [met, b"x" * size, {"k": 5.0}]


def get(result):
    values.append(result.get()[1:])


if __name__ == "__main__":
    with cmp.Pool(1) as pool:
        for size, call in (500, pool.apply_async), (50000, pool.apply_async):
            result = call(make, (size,))
            result.wait()
            threads = [threading.Thread(target=get, args=(result,)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert values == [[b"x" * size, {"k": 5.0}]] * 2, values
            values.clear()
        result = pool.map_async(make, [500] * 4, chunksize=1)
        result.wait()
        threads = [threading.Thread(target=lambda: values.extend(result.get())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [value[1:] for value in values] == [[b"x" * 500, {"k": 5.0}]] * 8
    print("good")
"""


def test_two_threads_may_get_one_result():
    ran = subprocess.run(
        [sys.executable, "-c", GET_TWICE],
        capture_output=True, text=True, timeout=150, env={**os.environ, "PYTHONMALLOC": "debug"},
    )  # fmt: skip
    assert (ran.stdout, ran.returncode) == ("good\n", 0), ran.stderr


class Late:
    """Whose unpickling takes until all threads are at one."""

    meeting: threading.Barrier | None = None

    def __init__(self, number):
        self.number = number

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.meeting is not None and self.number % 3 == 0:
            self.meeting.wait(100)


def test_threads_that_share_an_imap_of_chunks_get_every_result(monkeypatch):
    taken = []
    with cmp.Pool(1) as pool:
        monkeypatch.setattr(Late, "meeting", threading.Barrier(2))
        results = pool.imap(Late, range(6), chunksize=3)
        threads = [threading.Thread(target=lambda: taken.append(next(results))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken.extend(results)
    assert sorted(late.number for late in taken) == list(range(6))


RING = 64  # results that an imap keeps to begin with: py/ring.c


class Interrupted:
    """The first of them opens the gate, and is interrupted when all results have come."""

    wait_for_all: Callable[[], None] | None = None

    def __init__(self, number, gate):
        self.number = number
        if number == RING:
            wait_until(lambda: os.path.exists(gate))

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.number == 0 and Interrupted.wait_for_all is not None:
            wait, Interrupted.wait_for_all = Interrupted.wait_for_all, None
            wait()
            raise KeyboardInterrupt


def test_an_interrupted_result_of_an_imap_takes_no_other_s_place(tmp_path, monkeypatch):
    gate = tmp_path / "gate"
    with cmp.Pool(1) as pool:
        results = pool.imap(functools.partial(Interrupted, gate=gate), range(RING + 1))

        def wait_for_all():
            gate.touch()
            wait_until(lambda: not pool._cache)

        monkeypatch.setattr(Interrupted, "wait_for_all", wait_for_all)
        with pytest.raises(KeyboardInterrupt):
            next(results)
        assert [results.next(20).number for _ in range(RING + 1)] == list(range(RING + 1))


def compare_lists(_):
    """What tools that look for leaks do."""
    return sum(thing == [0, 0] for thing in gc.get_objects() if type(thing) is list and len(thing) == 2) and 0


def test_a_task_may_look_at_every_object_there_is():
    with cmp.Pool(1) as pool:
        assert pool.map(compare_lists, range(2), chunksize=2) == [0, 0]


# ---- threads that are none ----


@contextlib.contextmanager
def greenlets():
    """As if by gevent: what is started as a thread runs in the thread that starts it, before start() returns."""
    names = [name for name in ("_start_new_thread", "_start_joinable_thread") if hasattr(threading, name)]
    originals = {name: getattr(threading, name) for name in names}
    me = threading.current_thread()

    def at_once(function, args=(), **_):
        function(*args)
        threading._active[me.ident] = me  # where each thread has taken its starter's place, and left it empty

    try:
        vars(threading).update(dict.fromkeys(names, at_once))
        yield
    finally:
        vars(threading).update(originals)


def make_pools_of_greenlets():
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with greenlets():
        for left in (contextlib.nullcontext(), alone.NothingLeft()):  # the first one also loads modules
            with left, pytest.raises(RuntimeError, match="threads of the operating system"):
                cmp.get_context("fork").Pool(2)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == blocked
    assert not cmp.active_children()
    with cmp.get_context("fork").Pool(1) as pool:
        assert pool.apply(abs, (-1,)) == 1
    pool.join()


def test_a_pool_whose_threads_would_be_greenlets_is_an_error_and_leaves_nothing():
    """Its supervisor would stand in the way of the whole program, with all signals blocked."""
    alone.run(make_pools_of_greenlets, seconds=60)


def use_a_pool_among_greenlets():
    called = []
    with cmp.get_context("fork").Pool(1) as pool:
        with greenlets():
            with pytest.raises(RuntimeError, match="threads of the operating system"):
                pool.apply_async(abs, (-2,), callback=called.append)
            for imap in (pool.imap, pool.imap_unordered):
                with pytest.raises(RuntimeError, match="threads of the operating system"):
                    imap(abs, (n for n in range(3)))
            assert pool.map(abs, [-1, -2]) == [1, 2]
        pool.apply_async(abs, (-3,), callback=called.append).get()
        wait_until(lambda: called == [3])
        assert list(pool.imap(abs, (n for n in range(3)))) == [0, 1, 2]
        pool.close()
        pool.join()


def test_callbacks_and_iterables_of_a_pool_whose_threads_would_be_greenlets_are_an_error():
    alone.run(use_a_pool_among_greenlets, seconds=60)
