"""Where the threads of other processes stand: what a test that was let down by its patience leaves to its reader."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

FRAMES = 25


def _read(place: Path) -> str:
    try:
        return place.read_text().strip()
    except OSError as problem:
        return f"({problem.strerror})"


def by_kernel(pid: int) -> str:
    """Each thread's name, state, and the call that it is in: its number, arguments, stack and program counter."""
    lines = []
    for thread in sorted(Path(f"/proc/{pid}/task").glob("*"), key=lambda found: int(found.name)):
        name, _, rest = _read(thread / "stat").partition("(")[2].rpartition(")")
        call = f"in {_read(thread / 'wchan')}, call {_read(thread / 'syscall')}"
        lines.append(f"{thread.name} {name} {rest[1:2]} {call}")
    return "\n".join(lines)


def by_debugger(pid: int) -> str:
    """The C frames of each thread, or nothing where no gdb is."""
    if not shutil.which("gdb"):
        return ""
    ask = ["gdb", "-p", str(pid), "-batch", "-ex", f"thread apply all bt {FRAMES}"]
    try:
        said = subprocess.run(ask, capture_output=True, text=True, timeout=60, check=False).stdout
    except subprocess.TimeoutExpired:
        return "(gdb does not come back)"
    return "\n".join(line for line in said.splitlines() if line.startswith(("#", "Thread")))


def of(pids: Iterable[int]) -> str:
    """All that can be found out about them without their help."""
    told = []
    for pid in pids:
        command = _read(Path(f"/proc/{pid}/cmdline")).replace("\0", " ")[:200]
        told += [f"--- {pid}: {command}", by_kernel(pid), by_debugger(pid)]
    return "\n".join(filter(None, told))
