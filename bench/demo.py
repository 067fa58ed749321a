"""make demo: one ordinary multiprocessing script, unchanged, under the standard library and under cmp."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "bench" / "folder_report.py"
ROUNDS = 3
JOBS = {
    "Pool": "a Pool counts the words of 1500 files",
    "Queue": "a Queue carries 90,000 lines to two processes",
    "Manager().Queue": "a Pool copies the files and reports by a Manager's queue",
}


def run(*interpreter: str) -> tuple[str, dict[str, float]]:
    """What the script printed, and the seconds of each of its jobs."""
    # PYTHONPATH so that `-m cmp` finds this clone's build wherever make was called from.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *interpreter, str(SCRIPT)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode:
        sys.exit(f"{' '.join(interpreter)} {SCRIPT.name} failed:\n{done.stdout}{done.stderr}")
    return done.stdout, {
        name: float(seconds) for name, seconds in (line.split(": ") for line in done.stderr.splitlines())
    }


def main() -> None:
    print(
        textwrap.dedent(f"""\
        One ordinary script, bench/{SCRIPT.name}, run {ROUNDS} times in turn, without a changed line, by
            python bench/{SCRIPT.name}             multiprocessing of the standard library
            python -m cmp bench/{SCRIPT.name}      multiprocessing is cmp
        """),
        flush=True,
    )
    printed: set[str] = set()
    standard: dict[str, list[float]] = {name: [] for name in JOBS}
    ours: dict[str, list[float]] = {name: [] for name in JOBS}
    for _ in range(ROUNDS):
        for seconds, interpreter in ((standard, ()), (ours, ("-m", "cmp"))):
            output, took = run(*interpreter)
            printed.add(output)
            for name in JOBS:
                seconds[name].append(took[name])
    if len(printed) != 1:
        sys.exit("The two did not print the same:\n" + "\n".join(printed))
    print("Both printed the same:")
    print(textwrap.indent(printed.pop(), "    "))
    print(f"{'':<58}{'stdlib':>9}{'cmp':>9}")
    for name, what in JOBS.items():
        a, b = statistics.median(standard[name]), statistics.median(ours[name])
        print(f"{what:<58}{a:>7.2f} s{b:>7.2f} s   {a / b:.1f} times as fast")
    a = statistics.median(map(sum, zip(*standard.values(), strict=True)))
    b = statistics.median(map(sum, zip(*ours.values(), strict=True)))
    print(f"{'all of it':<58}{a:>7.2f} s{b:>7.2f} s   {a / b:.1f} times as fast")


if __name__ == "__main__":
    main()
