"""Checks the models of the protocols (models/*.pml) with spin, exhaustively.

    python3 tools/models.py             every run below
    python3 tools/models.py --short     those that take seconds
    python3 tools/models.py --mutants   every mutant a model names: spin has to find an error in each
    python3 tools/models.py queue       one model only

Prints a line per run; exit status 1 if a model fails or a mutant passes. Without spin it says so and does nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"

MEMORY_MIB = 4096
HASHED_MEMORY_MIB = 12288
DEPTH = 20_000  # steps of the longest run there is; a deeper one would be an error of its own
MUTANT = re.compile(r"^#define (\w+) \d+ +/\* mutant: (.*) \*/$", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    model: str
    bounds: dict[str, int]
    short: bool = False
    hashed: bool = False  # of each state 64 bits are kept, where all of it would not fit: see README of spin, -DHC4


RUNS = [
    Run("eventcount", {"PRODUCERS": 2, "CONSUMERS": 2, "ITEMS": 2, "KILLS": 0}, short=True),
    Run("eventcount", {"PRODUCERS": 2, "CONSUMERS": 2, "ITEMS": 3, "KILLS": 2}),
    Run("eventcount", {"PRODUCERS": 1, "CONSUMERS": 2, "ITEMS": 2, "KILLS": 2, "GIVEUPS": 1, "DISTURBERS": 1}),
    Run("queue", {"PRODUCERS": 2, "CONSUMERS": 2, "KILLS": 0}, short=True),
    Run("queue", {"PRODUCERS": 1, "CONSUMERS": 2, "KILLS": 2}),
    Run("queue", {"PRODUCERS": 2, "CONSUMERS": 1, "KILLS": 2}),
    Run("queue", {"PRODUCERS": 2, "CONSUMERS": 2, "KILLS": 1}),
    Run("queue", {"PRODUCERS": 2, "CONSUMERS": 2, "KILLS": 2, "SWEEPS": 0}),
    Run("queue", {"PRODUCERS": 2, "CONSUMERS": 2, "KILLS": 2}, hashed=True),
    Run("joinable", {"KILLS": 0}, short=True),
    Run("joinable", {"KILLS": 2}),
    Run("joinable", {"KILLS": 2, "DAMAGED": 2}),
    Run("pool", {"WORKERS": 2, "TASKS": 2, "KILLS": 1}, short=True),
    Run("pool", {"WORKERS": 2, "TASKS": 3, "KILLS": 2}),
]

# The least bounds at which a model's mutants show; a mutant of its own where it needs others.
MUTANT_BOUNDS = {
    "eventcount": {"KILLS": 0},
    "queue": {"PRODUCERS": 2, "CONSUMERS": 1, "KILLS": 1},
    "joinable": {"KILLS": 1},
    "pool": {"KILLS": 1},
}
MUTANT_OWN_BOUNDS = {
    "NO_TIMED_LOOK": {"KILLS": 1},
    "BURY_FIRST": {"KILLS": 2},
    "LINK_IN_BATCH": {"RECORDS": 2, "CAPACITY": 3},
}


@dataclass(frozen=True)
class Outcome:
    error: str  # "" if the whole of it was searched and nothing found
    states: int
    mib: float
    seconds: float


def mutants(model: str) -> dict[str, str]:
    """What the model can be told to get wrong, and what that is."""
    return dict(MUTANT.findall((MODELS / f"{model}.pml").read_text()))


def check(model: str, bounds: dict[str, int | str], long: bool = False, hashed: bool = False) -> Outcome:
    options = [f"-D{name}={value}" for name, value in bounds.items()]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["spin", *options, "-a", MODELS / f"{model}.pml"], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        storage = ["-DHC4", f"-DMEMLIM={HASHED_MEMORY_MIB}"] if hashed else ["-DCOLLAPSE", f"-DMEMLIM={MEMORY_MIB}"]
        subprocess.run(
            [
                *os.environ.get("CC", "cc").split(),
                "-O2" if long else "-O1",
                "-w",
                "-DSAFETY",
                *storage,
                "-o",
                "pan",
                "pan.c",
            ],
            cwd=folder,
            check=True,
        )
        begun = time.monotonic()
        text = subprocess.run(
            ["./pan", f"-m{DEPTH}", "-w27" if hashed else "-w24"],
            cwd=folder,
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout
        seconds = time.monotonic() - begun
    found = re.search(r"^pan:\d+: (.*)$", text, re.MULTILINE)
    whole = "Search not completed" not in text and "max search depth too small" not in text
    error = found.group(1) if found else "" if whole and "errors: 0" in text else "the search was not completed"
    states = stored_states(text)
    mib = float(re.search(r"([\d.]+)\s+total actual memory usage", text).group(1))
    return Outcome(error, states, mib, seconds)


def stored_states(report: str) -> int:
    """From a hundred million on spin gives eight digits and a power of ten."""
    return round(float(re.search(r"([\d.]+(?:e\+\d+)?) states, stored", report).group(1)))


def spelled(bounds: dict[str, int | str]) -> str:
    return " ".join(f"{name.lower()}={value}" for name, value in bounds.items())


def run_all(runs: list[Run]) -> bool:
    good = True
    for run in runs:
        outcome = check(run.model, run.bounds, long=not run.short, hashed=run.hashed)
        print(
            f"{run.model:11} {spelled(run.bounds):66} {outcome.states:10} states {outcome.mib:5.0f} MiB "
            f"{outcome.seconds:5.1f} s  {outcome.error or 'ok'}",
            flush=True,
        )
        good &= outcome.error == ""
    return good


def run_mutants(models: list[str]) -> bool:
    good = True
    for model in models:
        for name, what in mutants(model).items():
            bounds = MUTANT_BOUNDS[model] | MUTANT_OWN_BOUNDS.get(name, {}) | {"MUTANT": name}
            outcome = check(model, bounds)
            found = outcome.error not in ("", "the search was not completed")
            print(f"{model:11} {name:22} {'found' if found else 'NOT FOUND':10} {what}", flush=True)
            good &= found
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[[], *MUTANT_BOUNDS], help="all of them unless named")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--mutants", action="store_true")
    chosen = parser.parse_args()
    if shutil.which("spin") is None:
        print("models: no spin here, skipped")
        return 0
    models = chosen.models or list(MUTANT_BOUNDS)
    if chosen.mutants:
        return 0 if run_mutants(models) else 1
    return 0 if run_all([run for run in RUNS if run.model in models and (run.short or not chosen.short)]) else 1


if __name__ == "__main__":
    sys.exit(main())
