"""Runs CPython's own tests on cmp and compares what comes of them with tests/conformance/expected.txt.

    python tools/conformance.py HARNESS [--here] [--versions 3.12 3.13] [--methods fork spawn]
                                [--suites multiprocessing] [--runs 3] [--jobs 2] [--retry] [--class REGEX]
                                [--test-dir FOLDER]

HARNESS is the script that runs one suite on one Python by one start method (make conformance knows where it may be).
Every CPython found here takes part, each with a build of its own (see pythons.py); with --here only the running one,
and what is built in place. --test-dir has test modules for Pythons that were installed without. One line per run, a
summary at the end, logs in build/conformance. Exit status 1 on any surprise: a failure, crash or hang that is not
expected, an expected failure that never came, something left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import pythons

METHODS = ("fork", "spawn", "forkserver")
MODULES = {"multiprocessing": "test._test_multiprocessing", "concurrent_futures": "test.test_concurrent_futures"}
PASSED = ("ok", "skipped")
EXPECTED = pythons.ROOT / "tests" / "conformance" / "expected.txt"
LOGS = pythons.ROOT / "build" / "conformance"
# What a log must not say, though no test fails of it: objects that outlive a test, and children that crashed.
ALARMING = re.compile(r"Warning -- Dangling|Warning -- .* was modified|Fatal Python error|Segmentation fault")
MARK = "CMP_CONFORMANCE_RUN"
PATIENCE_S = 5.0  # for a process that is ending


def expected_failures(version: str | None = None, path: Path = EXPECTED) -> dict[str, str]:
    """Pattern of class.test -> the line of docs/DIFFERENCES.md, and why. A reason that begins with "from 3.x" holds
    from that version on; without a version all are given."""
    expected = {}
    for line in path.read_text().splitlines():
        name, _, reason = line.partition("  ")
        since = re.match(r"from ([\d.]+), ", reason)
        applies = version is None or since is None or pythons.numbers(version) >= pythons.numbers(since[1])
        if name and not name.startswith("#") and applies:
            expected[name] = reason[since.end() if since else 0 :]
    return expected


@dataclass
class Verdict:
    """What came of one run."""

    counts: Counter[str] = field(default_factory=Counter)
    expected: set[str] = field(default_factory=set)  # patterns of expected failures that a failure matched
    missed: set[str] = field(default_factory=set)  # those that a passing test matched
    surprises: list[str] = field(default_factory=list)


def judge(report: dict, expected: dict[str, str]) -> Verdict:
    """Sorts the harness's results. What it had to add to cmp, so that the tests could start at all, is a surprise."""
    verdict = Verdict()
    verdict.surprises += [f"MISSING: {note.strip()}" for note in report["notes"] if not note.startswith("borrowed ")]
    for group in report["results"]:
        for test, (status, detail) in group["status"].items():
            name = f"{group['cls']}.{test}"
            known = {pattern for pattern in expected if fnmatchcase(name, pattern)}
            if status in PASSED:
                verdict.counts[status] += 1
                verdict.missed |= known if status == "ok" else set()
            elif known and status in ("FAIL", "ERROR"):
                verdict.counts["expected"] += 1
                verdict.expected |= known
            else:
                last_line = detail.strip().splitlines()[-1] if detail.strip() else ""
                verdict.surprises.append(f"{status} {name}: {last_line}")
        verdict.surprises += [f"LEFT by {group['cls']}: {what}" for what in group["left"]]
        verdict.surprises += [f"LEFT in /dev/shm by {group['cls']}: {what}" for what in group["shm"]]
        verdict.surprises += [f"{group['cls']}: {note}" for note in group["notes"] if "then ok" not in note]
    return verdict


def without_outcome(report: dict) -> Iterator[tuple[str, str]]:
    """Class and name of tests that told nothing though the interpreter ended well: all their subtests were skipped,
    say, which the harness does not see; or they left by os._exit(0)."""
    for group in report["results"]:
        for test, (status, detail) in group["status"].items():
            if status == "ERROR" and detail.startswith("exit status 0\n"):
                yield group["cls"], test


def alarms(folder: Path) -> list[str]:
    """Lines of the tests' output that no test looks at, and nobody wants to see."""
    return [
        f"{log.stem} says: {line.strip()}"
        for log in sorted(folder.glob("*.log"))
        for line in log.read_text(errors="replace").splitlines()
        if ALARMING.search(line)
    ]


def processes_with(mark: str) -> Iterator[str]:
    """Whoever lives and was started, at whatever remove, with this word in its environment."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if command:  # a zombie has none, and is its parent's affair
                    yield f"{entry.name} {command.strip()[-100:]}"
        except OSError:  # it has just ended
            continue


def survivors(mark: str) -> list[str]:
    """The processes that a run left; they are ended."""
    deadline = time.monotonic() + PATIENCE_S
    while (left := list(processes_with(mark))) and time.monotonic() < deadline:
        time.sleep(0.05)
    for line in left:
        try:
            os.kill(int(line.split()[0]), 9)
        except ProcessLookupError:
            continue
    return [f"LEFT alive: {line}" for line in left]


@dataclass
class Subject:
    """A Python and the folder from which it imports cmp."""

    version: str
    python: Path
    folder: Path

    def ships(self, suite: str) -> bool:
        """Some Pythons are installed without their tests."""
        seek = f"import importlib.util as u, sys; sys.exit(u.find_spec({MODULES[suite]!r}) is None)"
        return subprocess.run([self.python, "-c", seek], stderr=subprocess.DEVNULL).returncode == 0


def run(harness: Path, subject: Subject, suite: str, method: str, more: list[str], logs: Path) -> Verdict:
    """One suite on one Python by one start method."""
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    report = logs / "report.json"
    mark = f"{os.getpid()}-{logs.name}"
    command = [sys.executable, harness, "--target", "cmp", "--path", subject.folder, "--python", subject.python]
    command += ["--suite", suite, "--method", method, "--resume", "--json", report, "--log-dir", logs, *more]
    with open(logs / "harness.txt", "w") as output:
        subprocess.run(command, cwd=logs, env={**os.environ, MARK: mark}, stdout=output, stderr=output)
    left = survivors(f"{MARK}={mark}")
    if not report.exists():
        closing = (logs / "harness.txt").read_text().strip().splitlines()
        return Verdict(surprises=[f"no report: {closing[-1] if closing else 'no output'}", *left])
    outcome = json.loads(report.read_text())
    for cls, test in without_outcome(outcome):  # the same with the standard library? Then it is the test's way
        alone = ["--target", "multiprocessing", "--class", f"^{cls}$", "--test", f"^{test}$"]
        subprocess.run([*command, *alone, "--json", logs / "alone.json"], cwd=logs, stdout=subprocess.DEVNULL)
        if (cls, test) in without_outcome(json.loads((logs / "alone.json").read_text())):
            group = next(group for group in outcome["results"] if group["cls"] == cls)
            group["status"][test] = ("skipped", "without an outcome, as with the standard library")
    verdict = judge(outcome, expected_failures(subject.version))
    verdict.surprises += left + alarms(logs)
    return verdict


def stale(verdicts: list[Verdict]) -> set[str]:
    """Expected failures that were run, and passed everywhere."""
    missed = set().union(*(verdict.missed for verdict in verdicts))
    return missed.difference(*(verdict.expected for verdict in verdicts))


def subjects(arguments: argparse.Namespace) -> Iterator[Subject]:
    if arguments.here:
        yield Subject(".".join(map(str, sys.version_info[:3])), Path(sys.executable), pythons.ROOT)
        return
    for version in arguments.versions:
        try:
            built = pythons.prepare(version)
        except pythons.Unavailable as missing:
            print(f"{version}: left out, {missing}", flush=True)
        else:
            yield Subject(version, built.python, built.folder)


def has_tests(folder: Path | None, suite: str) -> bool:
    """Are a suite's tests, which a Python may lack, in the folder that was given for them?"""
    name = MODULES[suite].removeprefix("test.")
    return folder is not None and any((folder / file).is_file() for file in (f"{name}.py", f"{name}/__init__.py"))


def plan(arguments: argparse.Namespace) -> Iterator[tuple[Subject, str, str, int]]:
    for subject in subjects(arguments):
        for suite in arguments.suites:
            if not (subject.ships(suite) or has_tests(arguments.test_dir, suite)):
                print(f"{subject.version}: left out, it was installed without {MODULES[suite]}", flush=True)
                continue
            for method in arguments.methods:
                for number in range(1, arguments.runs + 1):
                    yield subject, suite, method, number


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("harness", type=Path)
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--versions", nargs="+", default=pythons.VERSIONS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--suites", nargs="+", choices=list(MODULES), default=list(MODULES))
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--retry", action="store_true", help="a test that fails is run once more, alone")
    parser.add_argument("--class", dest="cls", default="")
    parser.add_argument("--test-dir", type=Path, help="test modules for Pythons that were installed without them")
    arguments = parser.parse_args()
    more = ["--jobs", str(arguments.jobs), "--class", arguments.cls, *(["--retry"] if arguments.retry else [])]
    if arguments.test_dir is not None:
        more += ["--test-dir", str(arguments.test_dir.resolve())]

    verdicts = []
    for subject, suite, method, number in plan(arguments):
        name = f"{subject.version}-{suite}-{method}-{number}"
        began = time.monotonic()
        verdict = run(arguments.harness.resolve(), subject, suite, method, more, LOGS / name)
        verdicts.append(verdict)
        counts = verdict.counts
        print(
            f"{subject.version} {suite} {method}, run {number} of {arguments.runs}: {counts['ok']} passed,"
            f" {counts['expected']} failed as expected, {counts['skipped']} skipped,"
            f" {len(verdict.surprises)} surprises, {time.monotonic() - began:.0f} s",
            *verdict.surprises,
            sep="\n    ",
            flush=True,
        )
    return summary(verdicts, expected_failures())


def summary(verdicts: list[Verdict], expected: dict[str, str]) -> int:
    """Prints it; the exit status."""
    outdated = sorted(stale(verdicts))
    for pattern in sorted(set().union(*(verdict.expected for verdict in verdicts))):
        print(f"failed as expected: {pattern}: {expected[pattern]}")
    for pattern in outdated:
        print(f"STALE: {pattern} passes everywhere and has to leave {EXPECTED.relative_to(pythons.ROOT)}")
    surprising = sum(bool(verdict.surprises) for verdict in verdicts)
    total = sum(verdict.counts["ok"] for verdict in verdicts)
    print(f"conformance: {len(verdicts)} runs, {total} tests passed, {surprising} runs with surprises")
    return 1 if surprising or outdated or not total else 0


if __name__ == "__main__":
    sys.exit(main())
