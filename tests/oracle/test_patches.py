"""Tools that put functions of their own in the place of the standard library's: coverage, debuggers, tracers."""

from __future__ import annotations

import multiprocessing.pool
import multiprocessing.process
import os
import sys

import pytest


def note(pipe, what):
    os.write(pipe[1], what + b" ")


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def raise_exit():
    raise SystemExit(3)


def fail():
    raise ValueError("so")


@pytest.mark.parametrize(("target", "code"), [(abs, 1), (raise_exit, 3), (fail, 1), (os.getpid, 0)])
def test_bootstrap_of_others_runs_in_forked_children(mp, target, code, pipe, monkeypatch, capfd):
    original = multiprocessing.process.BaseProcess._bootstrap

    def bootstrap(self, *args, **keywords):
        note(pipe, b"before")
        try:
            return original(self, *args, **keywords)
        finally:
            note(pipe, b"after")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "_bootstrap", bootstrap)
    process = mp.get_context("fork").Process(target=target, name="Kid")
    process.start()
    process.join()
    assert (process.exitcode, os.read(pipe[0], 100)) == (code, b"before after ")
    said = capfd.readouterr().err
    assert ("Process Kid:" in said) == (target in (abs, fail))


def test_bootstrap_of_others_leaves_the_parents_sentinel(mp, pipe, monkeypatch):
    original = multiprocessing.process.BaseProcess._bootstrap
    patched = lambda self, *args, **keywords: original(self, *args, **keywords)  # noqa: E731
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "_bootstrap", patched)

    def child():
        parent = multiprocessing.parent_process()
        note(pipe, str(parent.pid).encode() + b" " + str(parent.is_alive()).encode())

    process = mp.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert os.read(pipe[0], 100).split() == [str(os.getpid()).encode(), b"True"]


def test_fork_of_others_starts_the_children(mp, pipe, monkeypatch):
    original = os.fork

    def fork():
        note(pipe, b"forking")
        return original()

    monkeypatch.setattr(os, "fork", fork)
    process = mp.get_context("fork").Process(target=note, args=(pipe, b"child"))
    process.start()
    process.join()
    assert os.read(pipe[0], 100) == b"forking child "


# ---- functions that people add to Pool ----


def test_start_method_of_others_is_its_childrens(mp, pipe, monkeypatch):
    class Process(mp.get_context("fork").Process):
        _start_method = "mine"

    class Context(type(mp.get_context("fork"))):
        _name = "mine"

    Context.Process = Process
    monkeypatch.setitem(mp.context._concrete_contexts, "mine", Context())
    process = mp.get_context("mine").Process(target=lambda: note(pipe, mp.get_start_method().encode()))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert os.read(pipe[0], 100) == b"mine "


def lazy_starmap(self, func, iterable, chunksize=1):
    """As it goes round: starmap with the laziness of imap."""
    self._check_running()
    pool = sys.modules[f"{type(self).__module__.partition('.')[0]}.pool"]
    result = pool.IMapIterator(self)
    batches = pool.Pool._get_tasks(func, iterable, chunksize)
    tasks = self._guarded_task_generation(result._job, pool.starmapstar, batches)
    self._taskqueue.put((tasks, result._set_length))
    return (item for chunk in result for item in chunk)


@pytest.fixture
def lazy(mp, monkeypatch):
    monkeypatch.setattr(mp.pool.Pool, "lazy_starmap", lazy_starmap, raising=False)
    with mp.get_context("fork").Pool(2) as pool:
        yield pool
        pool.terminate()
        pool.join()


@pytest.mark.parametrize("chunksize", [1, 4])
def test_starmap_that_is_lazy_may_be_added_to_pool(lazy, chunksize):
    assert list(lazy.lazy_starmap(pow, [(n, 2) for n in range(10)], chunksize)) == [n * n for n in range(10)]
    assert list(lazy.lazy_starmap(pow, [])) == []


def test_added_starmap_raises_what_a_task_or_the_iterable_raises(lazy):
    results = lazy.lazy_starmap(divmod, [(6, 3), (1, 0)])
    assert next(results) == (2, 0)
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(KeyError):
        list(lazy.lazy_starmap(pow, ({}[n] for n in range(3))))


def test_tasks_that_wait_can_be_counted(lazy):
    for _ in range(3):
        lazy.apply(abs, (1,))
    lazy.close()
    lazy.join()
    assert (lazy._taskqueue.qsize(), lazy._taskqueue.empty()) == (0, True)
    with pytest.raises(ValueError, match="Pool not running"):
        lazy.lazy_starmap(pow, [])
