"""Where the threads of other processes stand: what a test that was let down by its patience leaves to its reader."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

FRAMES = 12


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


class _Socket:
    """A line of ss."""

    def __init__(self, line: str) -> None:
        self.line, fields = " ".join(line.split()), line.split()
        by_path = fields[0].startswith("u_")
        self.path = fields[4] if by_path and fields[4] != "*" else None
        self.end, self.peer = (fields[5], fields[7]) if by_path else (fields[4], fields[5])


def sockets(pids: Iterable[int]) -> str:
    """Theirs, who has the other ends, and who listens there: what a thread in recvfrom waits for. An end that nobody
    has is still to be accepted, if somebody listens, and else the kernel's."""
    if not shutil.which("ss"):
        return ""
    said = subprocess.run(["ss", "-Hxtanp"], capture_output=True, text=True, timeout=60, check=False).stdout
    every = [_Socket(line) for line in said.splitlines() if len(line.split()) > 5]
    marks = [f"pid={pid}," for pid in pids]
    own = [one for one in every if any(mark in one.line for mark in marks)]
    others = [one for one in every if one not in own and one.end in {mine.peer for mine in own}]
    paths = {one.path for one in own + others} - {None}
    doors = [one for one in every if one.path in paths and one not in own + others]
    return "\n".join(one.line for one in own + others + doors)


def of(pids: Iterable[int]) -> str:
    """All that can be found out about them without their help, in this order: a report may be cut off."""
    pids, brief, frames = list(pids), [], []
    for pid in pids:
        command = _read(Path(f"/proc/{pid}/cmdline")).replace("\0", " ")[:100].partition("\n")[0]
        brief += [f"--- {pid}: {command}", by_kernel(pid)]
        frames += [f"--- {pid}", by_debugger(pid)]
    return "\n".join(filter(None, [*brief, "--- their sockets", sockets(pids), *frames]))
