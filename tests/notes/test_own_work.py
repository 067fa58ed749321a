"""cmp does its own work, in C: neither the standard library's classes nor Python code of cmp's own stand behind it."""

import os
import sys
from pathlib import Path

import pytest
from support import launch
from support.catalogue import PROGRAMS

import cmp

PACKAGE = Path(cmp.__file__).parent


@pytest.mark.parametrize("name", ["002-pid", "001-queue-calls", "001-pool-calls", "002-manager-queue"])
def test_the_poison_works(name, notes, tmp_path, monkeypatch):
    """The standard library itself cannot run an example of any kind where `cmp alone` can."""
    (program,) = [program for program in PROGRAMS if program.name == name]
    monkeypatch.setattr(launch, "command", lambda way, script: [sys.executable, str(script)])
    run = launch.run(program, launch.ALONE, notes, tmp_path / "run")
    assert run.ended.returncode == 1 and "poisoned" in run.ended.stderr


@pytest.fixture
def frames():
    """frames(call) is the list of the Python functions of cmp and multiprocessing entered by call()."""

    def watch(call):
        entered = []

        def profile(frame, event, argument):
            if event == "call":
                entered.append(frame.f_code)

        sys.setprofile(profile)
        try:
            call()
        finally:
            sys.setprofile(None)
        ours = (os.fspath(PACKAGE) + os.sep, os.path.dirname(os.__file__) + "/multiprocessing/")
        return [
            f"{Path(code.co_filename).name}:{code.co_name}" for code in entered if code.co_filename.startswith(ours)
        ]

    return watch


def test_the_watch_sees_python_code_of_cmp(frames):
    assert frames(cmp.get_context)


@pytest.mark.parametrize("item", [1, "text", (1, 2), {"a": [1.5, None]}, {1, 2}, len], ids=repr)
@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_put_and_get_run_no_python(frames, kind, item):
    q = getattr(cmp, kind)()
    q.put(item)
    q.get()
    assert frames(lambda: q.put(item)) == []
    assert frames(lambda: q.empty()) == []
    assert frames(lambda: q.get()) == []
    if kind == "JoinableQueue":
        assert frames(lambda: q.task_done()) == []
    q.close()


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"])
def test_acquire_and_release_run_no_python(frames, kind):
    lock = getattr(cmp, kind)()

    def use():
        lock.acquire()
        lock.release()
        with lock:
            pass

    use()
    assert frames(use) == []


def test_an_event_runs_no_python(frames):
    event = cmp.Event()

    def use():
        event.set()
        event.wait()
        event.is_set()
        event.clear()

    assert frames(use) == []


def test_apply_runs_no_python(frames):
    with cmp.Pool(1) as pool:
        pool.apply(abs, (-1,))
        assert frames(lambda: pool.apply(abs, (-1,))) == []
        assert frames(lambda: pool.apply_async(abs, (-1,)).get()) == []
        assert frames(lambda: pool.map(abs, [-1, 2])) == []
    pool.join()


def test_the_managers_queue_runs_no_python(frames):
    with cmp.Manager() as manager:
        q = manager.Queue()
        q.put(0)
        q.get()
        assert frames(lambda: q.put(1)) == []
        assert frames(lambda: q.get()) == []
