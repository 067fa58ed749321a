"""make bench: the same work on the standard library and on cmp in turn (A B A B ...), in one run.

Each measurement is a process of its own. A ratio is the median of the ratios of neighbouring pairs, so that what
slows the whole machine for a while slows both halves of a pair; its spread is the least and the greatest of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # python bench/run.py
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import limits, registry, runner, table
from bench.results import Series


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="", metavar="REGEX", help="only rows whose name matches")
    parser.add_argument("--repeat", type=int, default=5, help="pairs of measurements per row (5)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one pair: shows that the rows run")
    parser.add_argument("--json", metavar="FILE", help="write everything measured there as well")
    parser.add_argument("--peers", action="store_true", help="other packages join where they are installed")
    parser.add_argument(
        "--against",
        default="stdlib,cmp",
        metavar="A,B",
        help="what to compare (stdlib,cmp); stdlib,stdlib shows the noise of the method",
    )
    parser.add_argument("--timeout", type=float, default=180, help="seconds for one measurement (180)")
    parser.add_argument("--one-core", action="store_true", help="all on one core, where no two can run at once")
    parser.add_argument("--hogs", type=int, default=0, metavar="N", help="so many other processes compute meanwhile")
    parser.add_argument("--no-limits", action="store_true", help="leave the machine's limits out")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    return parser.parse_args()


@contextmanager
def conditions(options: argparse.Namespace) -> Iterator[None]:
    """One core or all, alone or beside processes that do nothing but compute (which end with us, however we end)."""
    if options.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    compute = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"
    hogs = [subprocess.Popen([sys.executable, "-c", compute]) for _ in range(options.hogs)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{len(os.sched_getaffinity(0))} cores, {model}, {memory:.0f} GiB; Linux {platform.release()}; "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


def measure_row(row: registry.Row, names: list[str], *, repeat: int, quick: bool, timeout: float) -> dict[str, Series]:
    """One Series per implementation, measured in turn. Who has failed once, or lacks the thing, is not asked again."""
    series = {name: Series() for name in names if not row.only or name in row.only}
    size = row.tiny if quick else row.size
    for _ in range(repeat):
        for name, seen in series.items():
            if not seen.failure:
                seen.add(runner.measure(row.name, name.partition("#")[0], size, timeout=timeout))
    return series


def implementations(options: argparse.Namespace) -> list[str]:
    first, second = options.against.split(",")
    names = [first, second if second != first else f"{second}#2"]
    if options.peers:
        from bench.peers import ADAPTERS

        names += [name for name in ADAPTERS if name not in names]
    return names


def main() -> int:
    options = arguments()
    with conditions(options):
        return compare(options)


def compare(options: argparse.Namespace) -> int:
    rows = [row for name, row in registry.load().items() if re.search(options.rows, name)]
    if not rows:
        sys.exit(f"no row's name matches {options.rows!r}; --list has them")
    if options.list:
        print("\n".join(row.name for row in rows))
        return 0
    repeat = 1 if options.quick else options.repeat
    names = implementations(options)
    print(
        f"{machine()}\nload before: {os.getloadavg()[0]:.2f}; {repeat} pairs a row, {names[0]} and {names[1]} in turn"
        + (f"; beside {options.hogs} processes that compute" if options.hogs else "")
        + "\n"
    )
    bounds = {} if options.no_limits or options.quick else limits.measure()
    if bounds:
        print(table.limits(bounds))
    began = time.monotonic()
    print(table.header(names))
    results: dict[str, Any] = {}
    broken = 0
    for row in rows:
        series = measure_row(row, names, repeat=repeat, quick=options.quick, timeout=options.timeout)
        print(table.line(row, series, names, bounds), flush=True)
        results[row.name] = {name: seen.as_dict() for name, seen in series.items()}
        broken += any(seen.failure and not seen.absent for name, seen in series.items() if name in names[:2])
    print(f"\n{len(rows)} rows in {time.monotonic() - began:.0f} s; load after: {os.getloadavg()[0]:.2f}")
    if options.json:
        Path(options.json).write_text(
            json.dumps({"machine": machine(), "limits": bounds, "rows": results}, indent=1) + "\n"
        )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
