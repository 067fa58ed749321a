"""Runs a function of a test file in an interpreter of its own, where it may spend limits, leak, hang or be killed."""

from __future__ import annotations

import gc
import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import leaks, places, session, stacks

TESTS = Path(__file__).resolve().parents[1]

PROGRAM = """import importlib.util, sys, faulthandler
sys.path.insert(0, {tests!r})
faulthandler.dump_traceback_later({seconds!r}, exit=False)
spec = importlib.util.spec_from_file_location("scene", {file!r})
scene = sys.modules["scene"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scene)
if __name__ == "__main__":
    scene.{name}(*{args!r})
"""


def start(function: Callable, *args: object, seconds: float = 140, **how: object) -> subprocess.Popen:
    """A session of its own that calls function(*args), which has to be of a file's top level; args by their repr."""
    source = PROGRAM.format(
        tests=str(TESTS), file=inspect.getsourcefile(function), name=function.__name__, args=args, seconds=seconds
    )
    environment = places.child_environment(**how.pop("env", {}))
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": places.BUILT, **how}
    return subprocess.Popen([sys.executable, "-c", source], env=environment, text=True, start_new_session=True, **how)


def finish(process: subprocess.Popen, seconds: float = 150) -> tuple[str, str]:
    """What it printed; past the seconds the test fails, with the stacks that faulthandler printed before."""
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        standing = stacks.of(session.session_members(process.pid))
        end(process)
        pytest.fail(f"it does not end:\n{standing}\n{process.communicate()[1][-4000:]}", pytrace=False)


def end(process: subprocess.Popen) -> None:
    """Kills whatever is left of its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run(function: Callable, *args: object, code: int = 0, seconds: float = 150, **how: object) -> str:
    """Its output. It has to end with the exit code, and to leave no process of its session."""
    process = start(function, *args, seconds=seconds - 8, **how)
    try:
        output, errors = finish(process, seconds)
    finally:
        end(process)
    assert process.returncode == code, f"exit code {process.returncode}\n{output[-4000:]}\n{errors[-8000:]}"
    return output


class NothingLeft:
    """with NothingLeft(): what is done inside leaves no child and no descriptor."""

    def __enter__(self) -> NothingLeft:
        gc.collect()
        self.before = leaks.Snapshot()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            left = self.before.left_over()
            assert not left, "left behind: " + "; ".join(left)
