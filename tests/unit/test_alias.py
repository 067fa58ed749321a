"""python -m cmp: a program runs as under python, and `multiprocessing` is cmp everywhere in it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.places import child_environment

METHODS = ["fork", "spawn", "forkserver"]


def run(folder: Path, *argv: str, launcher: bool = True, stdin: str = "", options: tuple[str, ...] = (), **more):
    command = [sys.executable, *options, *(["-m", "cmp"] if launcher else []), *argv]
    return subprocess.run(
        command, cwd=folder, input=stdin, capture_output=True, text=True, timeout=150, env=child_environment(), **more
    )


def seen(done: subprocess.CompletedProcess) -> tuple[int, str, str]:
    without_addresses = [re.sub(r"0x[0-9a-f]+", "0x", text) for text in (done.stdout, done.stderr)]
    return done.returncode, *without_addresses


def same_as_python(folder: Path, *argv: str, **more) -> subprocess.CompletedProcess:
    """Runs it under both, which must not be told apart."""
    ours = run(folder, *argv, **more)
    assert seen(ours) == seen(run(folder, *argv, launcher=False, **more))
    return ours


# ---- the same as python ----

ENDINGS = {
    "returns": "print('x')",
    "raises": "def f():\n    raise ValueError('so')\nf()",
    "chains": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e",
    "syntax": "x = = 1",
    "exits": "import sys; sys.exit(3)",
    "exits with words": "import sys; sys.exit('words')",
    "exits late": "import atexit, sys; atexit.register(print, 'late'); sys.exit(4)",
    "interrupts itself": "raise KeyboardInterrupt",
    "is killed": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "own excepthook": "import sys; sys.excepthook = lambda *e: print('hook', e[0].__name__); 1 / 0",
    "prints its globals": "print({k: v for k, v in sorted(globals().items()) if k not in ('__loader__',)})",
    "prints its loader": "print(type(__loader__).__name__, __spec__ and __spec__.name)",
    "prints argv and path": "import sys; print(sys.argv, sys.path[0], __name__, __package__)",
    "pickles main at exit": (
        "import atexit, pickle\nclass C: pass\natexit.register(lambda: print(len(pickle.dumps(C()))))"
    ),
    "late threads": (
        "import threading, pickle\nclass C: pass\n"
        "def late():\n    threading.main_thread().join(); print(len(pickle.dumps(C())))\n"
        "threading.Thread(target=late).start()"
    ),
    "reads stdin": "import sys; print(sys.stdin.read())",
}


@pytest.fixture(params=list(ENDINGS))
def program(request, tmp_path):
    (tmp_path / "program.py").write_text(ENDINGS[request.param])
    return ENDINGS[request.param]


def test_script(program, tmp_path):
    same_as_python(tmp_path, "program.py", "a", "-b", stdin="lines\n")


def test_command(program, tmp_path):
    same_as_python(tmp_path, "-c", program, "a", "-b", stdin="lines\n")


def test_module(program, tmp_path):
    same_as_python(tmp_path, "-m", "program", "a", "-b", stdin="lines\n")


def test_program_on_stdin(program, tmp_path):
    same_as_python(tmp_path, "-", "a", "-b", stdin=program + "\n")


@pytest.mark.parametrize("ending", ["raises", "prints argv and path", "prints its loader", "exits"])
def test_folder_and_zip(ending, tmp_path):
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "__main__.py").write_text("import part\n" + ENDINGS[ending])
    (folder / "part.py").write_text("")
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        for name in ("__main__.py", "part.py"):
            archive.write(folder / name, name)
    same_as_python(tmp_path, "app")
    same_as_python(tmp_path, "app.zip", "x")


def test_package(tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("print('init', __name__)")
    (tmp_path / "pack" / "__main__.py").write_text("from . import other; print(__name__, __package__, 1 / 0)")
    (tmp_path / "pack" / "other.py").write_text("print(__name__)")
    same_as_python(tmp_path, "-m", "pack")
    same_as_python(tmp_path, "-m", "pack.other")
    same_as_python(tmp_path, "-m", "nothing.such")


def test_script_from_elsewhere_and_through_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "helper.py").write_text("print('helper')")
    (tmp_path / "real" / "main.py").write_text("import helper, sys\nprint(sys.argv, sys.path[0], __file__)\n1 / 0")
    (tmp_path / "link.py").symlink_to(tmp_path / "real" / "main.py")
    same_as_python(tmp_path, "real/main.py")
    same_as_python(tmp_path, "link.py")
    same_as_python(tmp_path, str(tmp_path / "real" / "main.py"))


def test_missing_script(tmp_path):
    assert same_as_python(tmp_path, "missing.py").returncode == 2


def test_warnings_and_optimisation_options_hold(tmp_path):
    (tmp_path / "o.py").write_text("import sys; assert False; print(sys.flags.optimize, __debug__)")
    same_as_python(tmp_path, "o.py", options=("-O",))
    same_as_python(tmp_path, "o.py", options=("-W", "error", "-X", "dev"))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="-P is new in 3.11")
def test_safe_path(tmp_path):
    (tmp_path / "p.py").write_text("import sys; print(sys.path[0])")
    same_as_python(tmp_path, "p.py", options=("-P",))
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text("import sys, part; print(sys.path[0])")
    (tmp_path / "app" / "part.py").write_text("")
    same_as_python(tmp_path, "app", options=("-P",))


@pytest.mark.parametrize("how", [["wait.py"], ["-m", "wait"], ["-c", "import wait"], ["-"]], ids=lambda how: how[0])
def test_ctrl_c_ends_it_by_the_signal(how, tmp_path):
    # One line, since the signal may come while it is still printing.
    (tmp_path / "wait.py").write_text("import time\nprint('ready', flush=True); time.sleep(60)\n")
    ended = []
    for launcher in ([], ["-m", "cmp"]):
        process = subprocess.Popen(
            [sys.executable, *launcher, *how], cwd=tmp_path, text=True, env=child_environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        if how == ["-"]:
            process.stdin.write("import wait\n")
        process.stdin.close()
        process.stdin = None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=100)
        lines = [line for line in errors.splitlines() if line.strip(" ~^")]
        ended.append((output, lines, process.returncode))
    assert ended[0] == ended[1]
    assert ended[1][2] == -signal.SIGINT


# ---- what only the launcher has ----


def test_bare_prints_help(tmp_path):
    for argv in ([], ["-h"], ["--help"]):
        done = run(tmp_path, *argv)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("usage: python -m cmp ")


@pytest.mark.parametrize("argv", [["-c"], ["-m"], ["--nonsense"]])
def test_wrong_use_is_an_error(argv, tmp_path):
    done = run(tmp_path, *argv)
    assert done.returncode != 0
    assert "usage: python -m cmp" in done.stderr


def test_importing_the_launcher_starts_nothing(tmp_path):
    code = "import cmp.__main__, cmp.script, cmp.arrival, multiprocessing; print(multiprocessing.__name__)"
    done = subprocess.run([sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True)
    assert done.stdout == "multiprocessing\n"


# ---- the alias ----

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
