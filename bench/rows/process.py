"""Process start+join, in the same run as a raw fork and wait, and the price of the import."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from bench.registry import Limits, Timing, row


OWN_PROCESS = ("stdlib", "cmp", "billiard")  # the others start theirs through the standard library


def _nothing() -> None:
    pass


def _child_faults() -> int:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt


def _forked(limits: Limits) -> float:
    return limits["fork_us"] * 1e-6


def _raw_fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def start_join_over(mp: Any, size: int) -> Timing:
    """Pairs of a process and a raw fork, one after the other, so that both see the same machine."""
    for _ in range(3):
        _raw_fork()
        process = mp.Process(target=_nothing)
        process.start()
        process.join()
    started, raw = [], []
    faults = {"raw": 0, "own": 0}
    for _ in range(size):
        before, begin = _child_faults(), time.perf_counter()
        _raw_fork()
        raw.append(time.perf_counter() - begin)
        faults["raw"] += _child_faults() - before
        before, begin = _child_faults(), time.perf_counter()
        process = mp.Process(target=_nothing)
        process.start()
        process.join()
        started.append(time.perf_counter() - begin)
        faults["own"] += _child_faults() - before
    own, floor = statistics.median(started), statistics.median(raw)
    return Timing(
        own * size,
        size,
        {
            "over raw fork": own / floor,
            "raw fork us": floor * 1e6,
            "child faults": faults["own"] / size,
            "raw fork faults": faults["raw"] / size,
        },
    )


@row(
    "process: start+join",
    size=150,
    tiny=3,
    target=1.4,
    limit=_forked,
    limit_text="fork of a small C program",
    only=OWN_PROCESS,
)
def start_join(mp: Any, size: int) -> Timing:
    return start_join_over(mp, size)


@row("process: start+join, 1 GiB resident", size=12, tiny=2, target=1.0, only=OWN_PROCESS)
def start_join_big(mp: Any, size: int) -> Timing:
    # With --quick the parent is small: what is tested then is that the row works.
    resident = bytearray(1 << 30 if size > 2 else 1 << 20)
    for offset in range(0, len(resident), 4096):
        resident[offset] = 1
    return start_join_over(mp, size)


_IMPORT = """
import sys, time
sys.path.insert(0, sys.argv[1])
begin = time.perf_counter()
import {name}
{use}
print(time.perf_counter() - begin)
"""


@row("import: the package", size=9, tiny=1, only=OWN_PROCESS)
def import_time(mp: Any, size: int) -> Timing:
    # What a program pays that uses them: the standard library puts parts of this off to the first call.
    name = mp.__name__
    _ = mp.Process, mp.Queue, mp.Lock, mp.Pool  # absent here is absent
    use = f"{name}.Process, {name}.Queue(), {name}.Lock(), __import__('{name}.pool')"
    where = os.path.dirname(os.path.dirname(os.path.abspath(mp.__file__)))
    times, bare = [], []
    # Byte code as an installed package has it, wherever the clone lies and whatever the environment says.
    with tempfile.TemporaryDirectory() as cache:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = cache
        for round_number in range(size + 1):
            for code, into in ((_IMPORT.format(name=name, use=use), times), (_IMPORT.format(name=name, use=""), bare)):
                out = subprocess.run(
                    [sys.executable, "-c", code, where], capture_output=True, check=True, timeout=60, env=environment
                )
                if round_number:  # the first one writes the byte code
                    into.append(float(out.stdout))
    return Timing(statistics.median(bare) * size, size, {"with first uses ms": statistics.median(times) * 1e3})
