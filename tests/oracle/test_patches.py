"""Tools that put functions of their own in the place of the standard library's: coverage, debuggers, tracers."""

from __future__ import annotations

import functools
import multiprocessing.pool
import os
import select
import subprocess
import sys
import threading
import time
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from unittest import mock

import pytest
from support.places import child_environment


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
    original = BaseProcess._bootstrap

    def bootstrap(self, *args, **keywords):
        note(pipe, b"before")
        try:
            return original(self, *args, **keywords)
        finally:
            note(pipe, b"after")

    monkeypatch.setattr(BaseProcess, "_bootstrap", bootstrap)
    process = mp.get_context("fork").Process(target=target, name="Kid")
    process.start()
    process.join()
    assert (process.exitcode, os.read(pipe[0], 100)) == (code, b"before after ")
    said = capfd.readouterr().err
    assert ("Process Kid:" in said) == (target in (abs, fail))


def test_bootstrap_of_others_leaves_the_parents_sentinel(mp, pipe, monkeypatch):
    original = BaseProcess._bootstrap
    patched = lambda self, *args, **keywords: original(self, *args, **keywords)  # noqa: E731
    monkeypatch.setattr(BaseProcess, "_bootstrap", patched)

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


# ---- functions in the place of BaseProcess's verbs ----

VERBS = ["start", "run", "join", "is_alive", "terminate", "kill", "close"]


def put_around(monkeypatch, verb, noted, original=None):
    """A function that notes the name and calls what it stands before."""
    original = original or getattr(BaseProcess, verb)

    @functools.wraps(original)
    def around(self, *args, **keywords):
        noted(verb)
        return original(self, *args, **keywords)

    monkeypatch.setattr(BaseProcess, verb, around)


@pytest.mark.parametrize("verb", [*VERBS, "interrupt"])
def test_function_in_place_of_a_verb_gets_its_arguments(mp, verb, monkeypatch):
    monkeypatch.setattr(BaseProcess, verb, lambda *args, **keywords: (args, keywords), raising=False)
    process = mp.get_context("fork").Process()
    assert getattr(process, verb)() == ((process,), {})
    assert getattr(process, verb)(1, timeout=2) == ((process, 1), {"timeout": 2})


@pytest.mark.parametrize("verb", ["start", "run", "is_alive", "terminate", "kill", "close"])
def test_verbs_themselves_take_no_arguments(mp, verb):
    process = mp.get_context("fork").Process()
    for args, keywords in [((1,), {}), ((), {"timeout": 1})]:
        with pytest.raises(TypeError):
            getattr(process, verb)(*args, **keywords)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("verbs", [["__init__"], *([verb] for verb in VERBS), ["__init__", *VERBS]], ids="-".join)
def test_life_of_a_process_with_functions_around_its_verbs(mp, method, verbs, monkeypatch):
    calls = []
    for verb in verbs:
        put_around(monkeypatch, verb, calls.append)
    process = mp.get_context(method).Process(None, time.sleep, "Kid", args=(1000,), daemon=True)
    assert (process.name, process.daemon, process.is_alive()) == ("Kid", True, False)
    process.start()
    assert process.is_alive()
    assert connection.wait([process.sentinel], 0) == []
    process.join(0)
    process.terminate()
    process.join()
    assert (process.is_alive(), process.exitcode) == (False, -15)
    assert connection.wait([process.sentinel], 100) == [process.sentinel]
    process.kill()
    process.close()
    with pytest.raises(ValueError, match="closed"):
        process.sentinel  # noqa: B018
    with pytest.raises(ValueError, match="closed"):
        process.start()
    order = "__init__ is_alive start is_alive join terminate join is_alive kill close start".split()
    assert calls == [verb for verb in order if verb in verbs]


def test_functions_may_stand_before_what_a_process_class_has(mp, pipe, monkeypatch):
    cls = mp.get_context("fork").Process
    for verb in ["__init__", "_bootstrap", *VERBS]:
        put_around(monkeypatch, verb, lambda verb: note(pipe, verb.encode()), getattr(cls, verb))
    process = cls(target=note, args=(pipe, b"target"))
    process.start()
    process.join()
    assert (process.is_alive(), process.exitcode) == (False, 0)
    process.close()
    calls = os.read(pipe[0], 300).decode().split()
    assert sorted(calls) == sorted("__init__ start _bootstrap run target join is_alive close".split())


def test_patch_that_runs_in_one_thread_is_heard_in_another(mp, blocked, pipe, monkeypatch):
    put_around(monkeypatch, "join", lambda verb: note(pipe, b"join"), type(blocked).join)
    threads = [threading.Thread(target=blocked.join) for _ in range(3)]
    for thread in threads:
        thread.start()
    heard = b""
    while heard.count(b"join") < 3:
        heard += os.read(pipe[0], 100)
    blocked.kill()
    for thread in threads:
        thread.join()
    assert blocked.exitcode == -9


def test_verb_given_back_from_a_process_class_is_as_it_was(mp, blocked, monkeypatch):
    cls = type(blocked)
    monkeypatch.setattr(BaseProcess, "kill", cls.terminate)
    monkeypatch.setattr(BaseProcess, "join", cls.join)
    blocked.kill()
    blocked.join()
    assert blocked.exitcode == -15


def test_functions_around_start_and_run_see_the_workers_of_a_pool(mp, pipe, monkeypatch):
    for verb in ("start", "run"):
        put_around(monkeypatch, verb, lambda verb: note(pipe, verb.encode()))
    with mp.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
        pool.close()
        pool.join()
    assert sorted(os.read(pipe[0], 100).split()) == [b"run", b"run", b"start", b"start"]


def test_start_that_is_forbidden_and_then_allowed(mp):
    process = mp.get_context("fork").Process(target=os._exit, args=(5,))
    with mock.patch.object(BaseProcess, "start") as start:
        process.start()
        start.assert_called_once_with()  # a mock is no function: it is not told of whom it is the method
        assert process.pid is None
    with mock.patch.object(BaseProcess, "start", autospec=True) as start:
        process.start()
        start.assert_called_once_with(process)
    with mock.patch.object(BaseProcess, "start", side_effect=RuntimeError("no processes here")):
        with pytest.raises(RuntimeError, match="no processes here"):
            process.start()
    process.start()
    process.join()
    assert process.exitcode == 5


def test_one_verb_may_take_the_place_of_another(mp, blocked, monkeypatch):
    monkeypatch.setattr(BaseProcess, "terminate", BaseProcess.kill)
    blocked.terminate()
    blocked.join()
    assert blocked.exitcode == -9


def test_init_in_its_place_has_to_return_none(mp, monkeypatch):
    monkeypatch.setattr(BaseProcess, "__init__", lambda self: 5)
    with pytest.raises(TypeError, match="should return None, not 'int'"):
        mp.get_context("fork").Process()


PROPERTIES = ["name", "daemon", "authkey", "exitcode", "ident", "pid", "sentinel"]


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("value", [property(lambda self: (self, "mine")), "mine"], ids=["property", "value"])
def test_property_of_others_is_read(mp, name, value, monkeypatch):
    process = mp.get_context("fork").Process()
    monkeypatch.setattr(BaseProcess, name, value)
    assert getattr(process, name) == ("mine" if value == "mine" else (process, "mine"))


def test_methods_are_looked_for_in_the_order_of_the_classes(mp, pipe, monkeypatch):
    base = mp.get_context("fork").Process

    def says(name, *bases):
        def start(self):
            note(pipe, b"start:" + name)
            return super(cls, self).start()

        def run(self):
            note(pipe, b"run:" + name)
            return super(cls, self).run()

        cls = type(name.decode(), bases, {"start": start, "run": run})
        return cls

    cousin, plain = says(b"cousin", BaseProcess), says(b"plain")
    for bases in [(base,), (base, cousin), (cousin, base), (base, plain, cousin), (base, plain)]:
        for patched in (False, True):
            with monkeypatch.context() as patches:
                for verb in ("start", "run") if patched else ():
                    put_around(patches, verb, lambda verb: note(pipe, verb.encode() + b":patch"))
                process = says(b"own", *bases)(target=note, args=(pipe, b"target"))
                process.start()
                process.join()
            order = [c.__name__ for c in type(process).__mro__ if c in (type(process), cousin, plain, BaseProcess)]
            order = order[: order.index("BaseProcess")] + ["patch"] * patched
            said = [f"{verb}:{name}" for verb in ("start", "run") for name in order]
            assert os.read(pipe[0], 300).decode().split() == [*said, "target"]


PROGRAM = """
from multiprocessing.process import BaseProcess

def put_around(verb, original):
    def around(self, *args, **keywords):
        os.write(1, verb.encode() + b" ")
        return original(self, *args, **keywords)
    return around

for verb in sys.argv[3:]:
    setattr(BaseProcess, verb, put_around(verb, getattr(BaseProcess, verb)))
"""
REST = """
if __name__ == "__main__":
    process = mp.get_context(sys.argv[1]).Process(target=os.write, args=(1, b"target "))
    process.start()
    process.join()
    print(process.exitcode)
"""


def run_program(mp, folder, text, *arguments):
    path = folder / "program.py"
    path.write_text(text)
    command = [sys.executable, *(["-m", "cmp"] if arguments[1] == "alias" else []), str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, env=child_environment())


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_functions_put_there_by_the_main_module_are_heard_in_children(mp, tmp_path, method, when):
    imports = ["import os, sys\n", PROGRAM, f"import {mp.__name__} as mp\n"]
    text = "".join(imports if when == "before" else [imports[0], imports[2], imports[1]]) + REST
    verbs = ["__init__", "start", "run"]
    done = run_program(mp, tmp_path, text, method, "plain", *verbs)
    assert (done.stdout, done.stderr) == ("__init__ start run target 0\n", "")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_functions_put_there_are_heard_under_the_alias(mp, tmp_path, method):
    text = "import os, sys\nimport multiprocessing as mp\n" + PROGRAM + REST
    how = "alias" if mp.__name__ == "cmp" else "plain"
    done = run_program(mp, tmp_path, text, method, how, "start", "run")
    assert (done.stdout, done.stderr) == ("start run target 0\n", "")


# ---- functions that people add to Pool ----


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


# ---- what is taken out of select, as by eventlet and gevent ----


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("gone", [["epoll"], ["epoll", "poll"]], ids="+".join)
@pytest.mark.timeout(60)
def test_manager_needs_neither_epoll_nor_poll_of_select(mp, method, gone, monkeypatch):
    for name in gone:
        monkeypatch.delattr(select, name)
    with mp.get_context(method).Manager() as manager:
        found = manager.list([1])
        queue = manager.Queue()
        queue.put(2)
        assert (found[0], queue.get()) == (1, 2)


@pytest.mark.timeout(60)
def test_manager_waits_by_the_select_of_others(mp, monkeypatch):
    original = select.select
    for name in ("epoll", "poll"):
        monkeypatch.delattr(select, name)
    monkeypatch.setattr(select, "select", lambda *args: original(*args))
    with mp.get_context("fork").Manager() as manager:
        for n in range(3):
            assert manager.dict(n=n)["n"] == n
