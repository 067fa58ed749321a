"""cmp in a subinterpreter: what cannot be there is an error at once, and hangs nobody."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.places import child_environment

# What the program given as its first argument does in a subinterpreter; its second says of what kind that is.
INSIDE = """
import sys
try:
    import _interpreters
    run, kinds = _interpreters.exec, {"legacy": "legacy", "isolated": "isolated"}
    interpreter = _interpreters.create(kinds[sys.argv[2]])
except ImportError:
    import _xxsubinterpreters as _interpreters
    run = _interpreters.run_string
    interpreter = _interpreters.create(isolated=sys.argv[2] == "isolated")
problem = run(interpreter, sys.argv[1])
_interpreters.destroy(interpreter)
if problem is not None:
    sys.exit(str(problem))
print("destroyed")
"""

TRIES = """
import cmp
try:
    {}
except RuntimeError as error:
    print(error)
"""


def said_inside(code: str, kind: str = "legacy") -> list[str]:
    command = [sys.executable, "-W", "ignore", "-c", INSIDE, code, kind]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=child_environment())
    assert (ended.returncode, ended.stderr) == (0, "")
    *said, last = ended.stdout.splitlines()
    assert last == "destroyed"
    return said


@pytest.mark.parametrize(
    ("call", "what"),
    [
        ("cmp.Process(target=print).start()", "a process started by fork"),
        ("cmp.Manager()", "a process started by fork"),
        ("cmp.Pool(2)", "Pool"),
        ("cmp.get_context('spawn').Pool(2)", "Pool"),
    ],
)
def test_what_cannot_be_is_an_error_at_once(call, what):
    assert said_inside(TRIES.format(call)) == [f"{what}: not in a subinterpreter"]


def test_queues_and_locks_work():
    code = "import cmp\nmade = cmp.Queue()\nwith cmp.Lock():\n    made.put(1)\nprint(made.get())"
    assert said_inside(code) == ["1"]


def test_processes_by_spawn_work():
    code = "import cmp\nmade = cmp.get_context('spawn').Process(target=exit, args=(3,))\n"
    assert said_inside(code + "made.start()\nmade.join()\nprint(made.exitcode)") == ["3"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="an interpreter has a lock of its own from 3.12 on")
def test_an_isolated_one_refuses_the_import():
    code = "try:\n    import cmp\nexcept ImportError as error:\n    print('subinterpreters' in str(error))"
    assert said_inside(code, "isolated") == ["True"]
