"""System calls that fail: failing.c preloaded into an interpreter of its own, and steered from there."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@functools.cache
def _library() -> str | None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    made = Path(tempfile.mkdtemp(prefix="cmp-failing-")) / "failing.so"
    source = Path(__file__).with_name("failing.c")
    options = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-o", str(made), str(source), "-ldl"]
    subprocess.run([compiler, *options], check=True)
    return str(made)


def environment() -> dict[str, str]:
    """What makes calls failable in a program started with it."""
    library = _library()
    if library is None:
        pytest.skip("no C compiler here")
    return {"LD_PRELOAD": library}


class Failing:
    """How often the call failed in this process; known when the block has ended."""

    hits = 0


@contextmanager
def failing(call: str, error: int, after: int = 0, count: int = 1, in_children: bool = False) -> Iterator[Failing]:
    """Inside, `count` calls after the first `after` fail with the errno: here, or in all processes forked meanwhile."""
    library = ctypes.CDLL(None)
    library.failing_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_long, ctypes.c_int, ctypes.c_int]
    library.failing_disarm.restype = ctypes.c_long
    found = Failing()
    library.failing_arm(call.encode(), after, count, error, in_children)
    try:
        yield found
    finally:
        found.hits = library.failing_disarm()
