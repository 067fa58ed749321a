"""Programs run by a command in a folder: under `python -m cmp`, and under plain python for comparison."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from support.places import child_environment


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
