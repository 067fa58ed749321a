"""Runs the scripts for CPython's reports under the standard library and under cmp, and prints the outcomes as a table.

make reports; or, for some of them: python tests/reports/side_by_side.py 66587 88304
"""

from __future__ import annotations

import ast
import platform
import re
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `support`, outside pytest

from support import launch, session  # noqa: E402

HERE = Path(__file__).resolve().parent
HEADING = f"| Report | The complaint | The stdlib of {platform.python_version()} | cmp |\n|--:|---|---|---|"
# Who does not end by then hangs. The longest script takes three seconds on a machine that has other things to do.
HANGS_AFTER_S = 15


def scripts() -> dict[int, Path]:
    """Report number to script, in the order of the numbers."""
    found = {int(path.stem.removeprefix("gh_")): path for path in HERE.glob("gh_*.py")}
    return dict(sorted(found.items()))


def complaint(script: Path) -> str:
    """The first line of a script's docstring."""
    return ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))).splitlines()[0]


def outcome(ended: session.Ended) -> str:
    """One of: passes, hangs, loses, raises ..., leaves processes. A script says by itself that something is lost."""
    if ended.timed_out:
        return "hangs"
    if ended.returncode:
        if re.search(r"^loses: ", ended.stderr, re.MULTILINE):
            return "loses"
        raised = re.findall(r"^(\w[\w.]*)(?::|$)", ended.stderr, re.MULTILINE)
        return f"raises {raised[-1]}" if raised else f"exit code {ended.returncode}"
    return "leaves processes" if ended.left else "passes"


def play(script: Path, way: str, timeout: float = HANGS_AFTER_S) -> session.Ended:
    """Runs a script, way being a word of support.launch."""
    return session.run(launch.command(way, script), timeout=timeout)


def row(number: int, script: Path, theirs: str, ours: str) -> str:
    """A line of the table."""
    return f"| {number} | {complaint(script)} | {theirs} | {ours} |"


def main(numbers: list[str]) -> int:
    wanted = {number: path for number, path in scripts().items() if not numbers or str(number) in numbers}
    if len(wanted) < len(set(numbers)):
        sys.exit(f"no script for one of {', '.join(numbers)}")
    print(HEADING, flush=True)
    failed = 0
    for number, script in wanted.items():
        theirs, ours = (outcome(play(script, way)) for way in ("stdlib", "alias"))
        failed += ours != "passes"
        print(row(number, script, theirs, ours), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
