"""cmp as an installed package: python -I and -E, which know no PYTHONPATH, and their children have the alias, too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import cmp

PROGRAM = """
import sys
import multiprocessing as mp
if __name__ == "__mp_main__":
    assert mp.__name__ == "cmp", "the alias came too late"

class Arrives:  # by pickle: what it needs is imported when it is made anew
    def __reduce__(self):
        return made_anew, ()

def made_anew():
    import multiprocessing.queues
    return multiprocessing.queues.__name__

def child(queue, arrived):
    flags = sys.flags.isolated, sys.flags.ignore_environment
    queue.put((mp.__name__, arrived, mp.get_start_method(), flags, type(queue).__module__))

if __name__ == "__main__":
    mp.set_start_method(sys.argv[1])
    if len(sys.argv) > 2:
        mp.set_executable(sys.argv[2])
    queue = mp.Queue()
    process = mp.Process(target=child, args=(queue, Arrives()))
    process.start()
    print(*queue.get(timeout=100))
    process.join()
    with mp.Pool(1) as pool:
        print(pool.apply(made_anew), process.exitcode)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """An environment in which the cmp under test is installed."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place / "env", symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    source = Path(cmp.__file__).parent
    target = place / "env" / "lib" / version / "site-packages" / "cmp"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    return place / "env" / "bin" / "python"


def run(python: Path, folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([python, *argv], cwd=folder, capture_output=True, text=True, timeout=150, env=environment)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("option", ["-I", "-E", "-s"])
def test_children_have_the_alias_before_anything_arrives(option, method, python, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = run(python, tmp_path, option, "-m", "cmp", "program.py", method)
    flags = {"-I": (1, 1), "-E": (0, 1), "-s": (0, 0)}[option]
    assert done.stderr == ""
    assert done.stdout == f"cmp cmp.queues {method} {flags} cmp.queues\ncmp.queues 0\n"


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_executable_that_was_set_has_it_too(method, python, tmp_path):
    """Here the parent is not even isolated, and the children are."""
    wrapper = tmp_path / "isolating"
    wrapper.write_text(f'#!/bin/sh\nexec {python} -I "$@"\n')
    wrapper.chmod(0o755)
    (tmp_path / "program.py").write_text(PROGRAM)
    done = run(python, tmp_path, "-m", "cmp", "program.py", method, os.fspath(wrapper))
    assert done.stderr == ""
    assert done.stdout == f"cmp cmp.queues {method} (1, 1) cmp.queues\ncmp.queues 0\n"


def test_modules_and_folders_run_isolated(python, tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text(
        "import multiprocessing, sys; print(multiprocessing.__name__, __name__)"
    )
    assert run(python, tmp_path, "-I", "-m", "cmp", "app").stdout == "cmp __main__\n"
    assert run(python, tmp_path, "-I", "-m", "cmp", "-m", "json.tool", "-h").stdout.startswith("usage:")
    assert run(python, tmp_path, "-I", "-m", "cmp", "-c", "import sys; print(sys.argv)", "x").stdout == "['-c', 'x']\n"
