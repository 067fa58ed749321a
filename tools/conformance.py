"""Run CPython's own multiprocessing tests on cmp and compare the outcome with tests/conformance/expected.txt.

    python tools/conformance.py TOOL [--method fork|spawn|forkserver] [--python PY] [options of TOOL ...]

TOOL is the harness that runs them (make conformance knows where it may be). Exit status 0 if every failure is
expected, no test hung or crashed, and nothing was left behind.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PASSED = {"ok", "skipped", "delegated"}


def expected_failures() -> dict[str, str]:
    """Test -> the reason why it fails."""
    lines = (ROOT / "tests/conformance/expected.txt").read_text().splitlines()
    pairs = (line.split(None, 1) for line in lines if line and not line.startswith("#"))
    return {name: reason for name, reason in pairs}


def failures(results: list[dict]) -> tuple[dict[str, str], list[str]]:
    """Test -> what came of it, for those that did not pass; and what was left behind."""
    failed, left = {}, []
    for group in results:
        for test, (status, detail) in group["status"].items():
            if status not in PASSED:
                failed[f"{group['cls']}.{test}"] = f"{status} {detail.strip().splitlines()[-1] if detail else ''}"
        left += [f"{group['cls']} left {what}" for what in group["left"] + group["shm"]]
    return failed, left


def main(tool: str, *options: str) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        command = [sys.executable, str(Path(tool).resolve()), "--target", "cmp", "--path", str(ROOT), "--json", str(report)]
        subprocess.run([*command, "--log-dir", scratch, *options], cwd=scratch, stdout=subprocess.DEVNULL)
        outcome = json.loads(report.read_text())
    failed, left = failures(outcome["results"])
    expected = expected_failures()
    surprises = {test: what for test, what in failed.items() if test not in expected}
    print(f"CPython's suite, {outcome['method']}, {outcome['python']}: {outcome['total']}")
    for test in sorted(failed.keys() & expected.keys()):
        print(f"  expected: {test}: {expected[test]}")
    for test, what in sorted(surprises.items()):
        print(f"  FAILED: {test}: {what}")
    for what in left:
        print(f"  LEFT: {what}")
    return 1 if surprises or left else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 1 else __doc__)
