"""python -m cmp: a program runs as under python."""

from __future__ import annotations

import signal
import subprocess
import sys
import zipfile

import pytest
from support.commands import run, same_as_python
from support.places import child_environment

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
