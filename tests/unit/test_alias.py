"""Under python -m cmp, `multiprocessing` is cmp everywhere: in a program, its modules, and the processes it starts."""

from __future__ import annotations

import os
import sys

import pytest
from support.commands import run, same_as_python

METHODS = ["fork", "spawn", "forkserver"]

NAMES = """
import importlib, pkgutil, sys
import multiprocessing, cmp
import multiprocessing.queues, multiprocessing.pool as pool
from multiprocessing import Process, synchronize, connection, context
from multiprocessing.managers import BaseManager
assert multiprocessing is cmp and multiprocessing.queues is cmp.queues and pool is cmp.pool
assert synchronize is cmp.synchronize and context is cmp.context and Process is cmp.Process
assert connection is sys.modules["multiprocessing.connection"] is importlib.import_module("cmp.connection")
for info in pkgutil.walk_packages(multiprocessing.__path__[-1:], "multiprocessing."):
    if not info.name.endswith("win32"):
        theirs = importlib.import_module(info.name)
        assert theirs is importlib.import_module(info.name.replace("multiprocessing", "cmp")), info.name
ours = {}
for name, module in sys.modules.items():
    if name.partition(".")[0] in ("cmp", "multiprocessing") and getattr(module, "__file__", None):
        ours.setdefault(module.__file__, set()).add(id(module))
twice = [file for file, ids in ours.items() if len(ids) > 1]
assert not twice, twice
print("ok")
"""


def test_every_name_leads_to_cmp_and_no_file_is_loaded_twice(tmp_path):
    done = run(tmp_path, "-c", NAMES)
    assert (done.stdout, done.stderr) == ("ok\n", "")


EXIT_ORDER = """import atexit
atexit.register(print, "registered before")
import multiprocessing.util
atexit.register(print, "registered after")
multiprocessing.util.Finalize(None, print, ("exit duties",), exitpriority=1)
"""


def test_what_runs_at_exit_runs_in_the_order_of_the_imports(tmp_path):
    assert same_as_python(tmp_path, "-c", EXIT_ORDER).stdout == "registered after\nexit duties\nregistered before\n"


def test_modules_come_at_their_first_use(tmp_path):
    done = run(tmp_path, "-c", "import sys; print(*(n for n in sys.modules if n.startswith('multiprocessing.')))")
    assert set(done.stdout.split()) == {
        "multiprocessing.context",
        "multiprocessing.process",
        "multiprocessing.reduction",
    }


KIN = """
import sys, multiprocessing, cmp
from multiprocessing.managers import BaseManager
import multiprocessing.sharedctypes, multiprocessing.popen_spawn_posix
theirs = {name: module for name, module in sys.modules.items() if name.startswith("cmp.kin.")}
for name, module in theirs.items():
    for kin in vars(module).values():
        if getattr(kin, "__name__", "").startswith(("cmp", "multiprocessing")):
            assert not getattr(kin, "__file__", "").startswith(cmp.__path__[0]), (name, kin)
print(*sorted(theirs))
"""


def test_modules_of_the_stdlib_that_come_late_see_their_own_kind(tmp_path):
    done = run(tmp_path, "-c", KIN)
    assert done.stderr == ""
    assert {"cmp.kin.managers", "cmp.kin.pool", "cmp.kin.heap", "cmp.kin.util"} <= set(done.stdout.split())


def test_threads_may_import_the_same_at_once(tmp_path):
    done = run(
        tmp_path,
        "-c",
        "import threading\n"
        "names = ['managers', 'pool', 'connection', 'sharedctypes', 'queues', 'util', 'synchronize', 'heap'] * 4\n"
        "gate, seen = threading.Barrier(len(names)), set()\n"
        "def load(name):\n"
        "    gate.wait(); seen.add((name, id(__import__('multiprocessing.' + name, fromlist=['x']))))\n"
        "threads = [threading.Thread(target=load, args=(name,)) for name in names]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(len(seen))\n",
    )
    assert (done.stdout, done.stderr) == ("8\n", "")


REPORT = """
import multiprocessing, os, sys
from multiprocessing import Process, current_process, util
if __name__ == "__mp_main__":
    print("imported again with", multiprocessing.__name__, multiprocessing.get_start_method(), flush=True)

def report():
    import multiprocessing.queues
    print(multiprocessing.__name__, multiprocessing.queues.__name__, type(current_process()).__module__,
          multiprocessing.get_start_method(), current_process().name, flush=True)

def twice():
    p = Process(target=report); p.start(); p.join()
    report()

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    p = Process(target=twice, name="Given"); p.start(); p.join()
    print(p.exitcode, type(p.name) is str)
"""


@pytest.mark.parametrize("how", ["report.py", "-m"])
@pytest.mark.parametrize("method", METHODS)
def test_the_alias_is_in_children_before_anything_arrives(method, how, tmp_path):
    (tmp_path / "report.py").write_text(REPORT)
    done = run(tmp_path, *(["-m", "report"] if how == "-m" else [how]), method)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert {line for line in lines if line.startswith("imported")} <= {f"imported again with cmp {method}"}
    assert method == "fork" or lines[0].startswith("imported")
    assert [line for line in lines if not line.startswith("imported")] == [
        f"cmp cmp.queues cmp.context {method} Given:1".replace("Given:1", lines[-3].split()[-1]),
        f"cmp cmp.queues cmp.context {method} Given",
        "0 True",
    ]


PRELOADED = """
import multiprocessing, sys
print(__name__, multiprocessing.__name__, sys.argv[1:], flush=True)
def f():
    print("f", type(multiprocessing.Queue()).__module__, flush=True)
if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__"])
    for _ in range(2):
        p = context.Process(target=f); p.start(); p.join()
"""


def test_a_fork_server_loads_the_main_module_when_python_s_does_but_under_the_alias(tmp_path):
    (tmp_path / "preloaded.py").write_text(PRELOADED)
    ours = run(tmp_path, "preloaded.py", "given")
    theirs = run(tmp_path, "preloaded.py", "given", launcher=False)
    assert "__mp_main__ cmp" in ours.stdout and "multiprocessing" not in ours.stdout
    assert (ours.stdout, ours.stderr) == (theirs.stdout.replace("multiprocessing", "cmp"), "")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_children_find_cmp_after_a_change_of_folder(method, tmp_path):
    (tmp_path / "report.py").write_text(
        REPORT.replace('if __name__ == "__main__":', 'os.chdir("/")\nif __name__ == "__main__":')
    )
    done = run(tmp_path, "report.py", method)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("0 True\n")


EXECUTORS = """
import concurrent.futures, multiprocessing, os, sys

def work(x):
    return x * x, multiprocessing.__name__, multiprocessing.current_process().name.partition("-")[0]

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        print(sorted(set(pool.map(work, range(20))))[-1])
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        print(pool.submit(work, 3).result()[:2])
"""


@pytest.mark.parametrize("method", METHODS)
def test_process_pool_executor(method, tmp_path):
    (tmp_path / "executors.py").write_text(EXECUTORS)
    done = run(tmp_path, "executors.py", method)
    assert (done.returncode, done.stderr) == (0, "")
    kind = {"fork": "ForkProcess", "spawn": "SpawnProcess", "forkserver": "ForkServerProcess"}[method]
    assert done.stdout == f"(361, 'cmp', '{kind}')\n(9, 'cmp')\n"


STDLIB_PARTS = """
import multiprocessing as mp, sys
from multiprocessing import connection, shared_memory, sharedctypes

def child(conn, value, array):
    with value.get_lock():
        value.value += 1
    array[0] = 7
    conn.send(mp.current_process().name)
    conn.close()

if __name__ == "__main__":
    ctx = mp.get_context(sys.argv[1])
    here, there = ctx.Pipe()
    value, array = ctx.Value("i", 4), ctx.Array("i", 3)
    p = ctx.Process(target=child, args=(there, value, array), name="Kid")
    p.start()
    print(here.recv(), value.value, list(array))
    p.join()
    try:
        mp.Queue().put
        import pickle
        pickle.dumps(mp.Queue())
    except RuntimeError as e:
        print(e)
"""


@pytest.mark.parametrize("method", METHODS)
def test_pipe_value_and_array(method, tmp_path):
    (tmp_path / "parts.py").write_text(STDLIB_PARTS)
    done = run(tmp_path, "parts.py", method)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "Kid 5 [7, 0, 0]",
        "Queue objects should only be shared between processes through inheritance",
    ]


def test_a_main_without_a_guard_is_told_so(tmp_path):
    (tmp_path / "unguarded.py").write_text(
        "import multiprocessing\nmp = multiprocessing.get_context('spawn')\n"
        "p = mp.Process(target=print)\np.start()\np.join()\n"
    )
    done = run(tmp_path, "unguarded.py")
    assert "before the\n        current process has finished its bootstrapping phase" in done.stderr
    assert done.stdout == ""


def test_the_executable_may_be_set(tmp_path):
    (tmp_path / "executable.py").write_text(
        "import multiprocessing as mp, sys, os\n"
        "def child(): print(os.environ['VIA'])\n"
        "if __name__ == '__main__':\n"
        "    mp.set_start_method('spawn'); mp.set_executable(sys.argv[1])\n"
        "    p = mp.Process(target=child); p.start(); p.join(); print(p.exitcode)\n"
    )
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nVIA=wrapper exec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    done = run(tmp_path, "executable.py", os.fspath(wrapper))
    assert (done.stdout, done.stderr) == ("wrapper\n0\n", "")
