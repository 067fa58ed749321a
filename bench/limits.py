"""Compiles and runs limits.c; its figures bound the rows."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

TEXT = {
    "spin_us": "round trip between two processes, spinning, us",
    "futex_us": "round trip between two processes, sleeping on a futex, us",
    "spsc_mps": "16-byte records, one producer, one consumer, both spinning, M/s",
    "cold_gbs": "copy into shared memory never touched before, GB/s",
    "warm_gbs": "copy into recycled shared memory, GB/s",
    "mutex_ns": "robust pthread mutex, lock and unlock, ns",
    "fork_us": "fork, _exit and waitpid of a small C program, us",
}


def measure() -> dict[str, float]:
    """{name: value}, or {} where there is no compiler: rows then show no limit."""
    source = Path(__file__).with_name("limits.c")
    compiler = shlex.split(os.environ.get("CC", "cc"))
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "limits")
        try:
            subprocess.run(
                [
                    *compiler,
                    "-std=gnu11",
                    "-O2",
                    "-D_GNU_SOURCE",
                    "-Wall",
                    "-Wextra",
                    "-o",
                    str(program),
                    str(source),
                    "-pthread",
                ],
                check=True,
                timeout=60,
            )
            out = subprocess.run([str(program)], check=True, capture_output=True, text=True, timeout=120).stdout
        except (OSError, subprocess.SubprocessError) as error:
            print(f"(no limits measured: {error})")
            return {}
    return {name: float(value) for name, value in (line.split() for line in out.splitlines())}
