"""make bench-check: does this clone do each row as fast as another one? Both are measured in turn in one run.

BASE is a folder with a built clone, or a revision, which is then checked out and built in a temporary folder. A row
has regressed when its median got slower by more than the tolerance and each single pair agrees that it got slower:
noise shows in both directions.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

if __package__ in (None, ""):  # python bench/check.py
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import registry, runner
from bench.results import Series, speedup
from bench.table import duration


def built_checkout(base: str, stack: ExitStack) -> Path:
    """The folder `base`, or a temporary clone of this repository at the revision `base`, built in place."""
    if Path(base, "cmp").is_dir():
        return Path(base).resolve()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()), "base")
    subprocess.run(["git", "-C", str(runner.ROOT), "worktree", "add", "-q", "--detach", str(folder), base], check=True)
    stack.callback(
        subprocess.run, ["git", "-C", str(runner.ROOT), "worktree", "remove", "--force", str(folder)], check=True
    )
    print(f"building {base} ...", flush=True)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=folder,
        check=True,
        timeout=600,
        stderr=subprocess.DEVNULL,
    )
    return folder


def compare(row: registry.Row, base: Path, head: Path, repeat: int) -> tuple[Series, Series]:
    before, after = Series(), Series()
    for _ in range(repeat):
        for series, checkout in ((before, base), (after, head)):
            if not series.failure:
                series.add(runner.measure(row.name, "cmp", row.size, checkout=str(checkout)))
    return before, after


def verdict(before: Series, after: Series, tolerance: float) -> str:
    """One word, or "" for a row that is as it was."""
    if after.failure:
        return "FAILED: " + after.failure if not before.failure else ""
    if before.failure:
        return "new"
    change = speedup(after, before)  # above 1: slower now
    assert change is not None
    if change.median > 1 + tolerance and change.least > 1:
        return "SLOWER"
    if change.median < 1 / (1 + tolerance) and change.greatest < 1:
        return "faster"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-check", description=__doc__.splitlines()[0])
    parser.add_argument("base", help="a built clone, or a revision of this repository")
    parser.add_argument("--head", default=str(runner.ROOT), help="the clone that is judged (this one)")
    parser.add_argument("--rows", default="", metavar="REGEX")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--tolerance", type=float, default=0.10, help="how much slower is still the same (0.10)")
    options = parser.parse_args()
    worse = []
    with ExitStack() as stack:
        base = built_checkout(options.base, stack)
        print(f"{'one operation':<43} {'before':>10} {'now':>10} {'time':>7} {'(spread)':<14}")
        for name, row in registry.load().items():
            if not re.search(options.rows, name) or (row.only and "cmp" not in row.only):
                continue
            before, after = compare(row, base, Path(options.head), options.repeat)
            said = verdict(before, after, options.tolerance)
            change = speedup(after, before)
            figures = ""
            if change:
                figures = (
                    f"{duration(before.per_op()):>10} {duration(after.per_op()):>10} {change.median:>6.2f}x "
                    f"({change.least:.2f}-{change.greatest:.2f})"
                )
            print(f"{name:<43} {figures:<44} {said}".rstrip(), flush=True)
            if said.isupper() or said.startswith("FAILED"):
                worse.append(name)
    print(f"\n{len(worse)} rows regressed" + (": " + ", ".join(worse) if worse else ""))
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
