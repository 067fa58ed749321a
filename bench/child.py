"""One measurement in a process of its own: python bench/child.py ROW IMPLEMENTATION SIZE [CHECKOUT]

Prints one line of JSON. CHECKOUT is the root of another clone whose cmp is to be measured instead of ours.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def _usage() -> tuple[float, int]:
    """CPU seconds and page faults of this process and of the children it has waited for."""
    mine, theirs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime
    return cpu, mine.ru_minflt + mine.ru_majflt + theirs.ru_minflt + theirs.ru_majflt


def _peak_bytes() -> int:
    """The largest peak of this process or of one child; shared memory counts where it was touched."""
    mine, theirs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return max(mine.ru_maxrss, theirs.ru_maxrss) * 1024


def find_packages(checkout: Path) -> None:
    """Puts `bench` on the path, and the checkout's cmp if it is built there; else the installed cmp is measured."""
    sys.path[0] = str(ROOT)  # instead of bench/, whose files have names of the standard library's
    importlib.import_module("bench.registry")
    if any(checkout.glob("cmp/_core*.so")):
        sys.path[0] = str(checkout.resolve())
    else:
        sys.path.append(sys.path.pop(0))


def measure(name: str, implementation: str, size: int) -> dict[str, Any]:
    from bench import impls, registry

    row = registry.find(name)
    try:
        mp = impls.load(implementation, row.op_bytes)
        idle_peak = _peak_bytes()
        cpu, faults = _usage()
        timing = row.work(mp, size)
    except (registry.Absent, AttributeError) as error:
        # A peer, or a part that is not built yet, lacks a name: that row has no figure, and says why.
        if isinstance(error, AttributeError) and getattr(error, "name", None) is None:
            raise
        return {"absent": str(error)}
    cpu_after, faults_after = _usage()
    return {
        "seconds": timing.seconds,
        "ops": timing.ops,
        "cpu": cpu_after - cpu,
        "faults": faults_after - faults,
        "peak": _peak_bytes() - idle_peak,
        "extra": timing.extra,
    }


def main(argv: list[str]) -> None:
    name, implementation, size = argv[1], argv[2], int(argv[3])
    find_packages(Path(argv[4]) if len(argv) > 4 else ROOT)
    report_fd = os.dup(1)
    os.set_inheritable(report_fd, False)
    os.dup2(2, 1)  # whatever the row or a library prints must not mix with the report
    began = time.monotonic()
    report = measure(name, implementation, size)
    report["whole"] = time.monotonic() - began
    os.write(report_fd, (json.dumps(report) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv)
