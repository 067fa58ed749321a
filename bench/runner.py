"""Runs one measurement in a fresh process, and sees to it that nothing of it is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def _session_members(session: int) -> list[int]:
    """The processes of a session, dead ones not counted."""
    members = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        if int(fields[3]) == session and fields[0] not in "ZX":
            members.append(int(entry))
    return members


def _end_session(session: int, grace: float) -> int:
    """Kills what is still there of the session after `grace` seconds; how many there were."""
    until = time.monotonic() + grace
    while (left := _session_members(session)) and time.monotonic() < until:
        time.sleep(0.02)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return len(left)


def measure(
    row: str, implementation: str, size: int, *, timeout: float = 120, checkout: str = "", python: str = sys.executable
) -> dict[str, Any]:
    """The report of bench.child, or {"failed": why}; "left" counts processes that outlived the measurement."""
    command = [python, str(ROOT / "bench" / "child.py"), row, implementation, str(size)] + (
        [checkout] if checkout else []
    )
    # Files and not pipes: a process that outlives the measurement must not keep us waiting for an end of file.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            _end_session(child.pid, grace=0)
            child.wait()
            return {"failed": f"no result within {timeout:g} s", "left": 0}
        # A resource tracker ends a moment after the process it serves.
        left = _end_session(child.pid, grace=1)
        out.seek(0)
        err.seek(0)
        printed, complaints = out.read(), err.read().decode(errors="replace")
    if child.returncode != 0 or not printed:
        last = complaints.strip().splitlines()[-1:] or ["it printed nothing"]
        return {"failed": f"exit code {child.returncode}: {last[0]}", "left": left, "stderr": complaints}
    report: dict[str, Any] = json.loads(printed)
    report["left"] = left
    return report
