"""What CPython's tracker has complained of passes on cmp, and docs/RELIABILITY.md says what the stdlib does."""

from __future__ import annotations

import re

import pytest
from reports import side_by_side
from support import session
from support.places import ROOT

SCRIPTS = side_by_side.scripts()


@pytest.mark.parametrize("number", SCRIPTS)
def test_report_passes_on_cmp(number):
    side_by_side.play(SCRIPTS[number], "alias", timeout=150).check()


def test_table_and_scripts_say_the_same():
    text = (ROOT / "docs" / "RELIABILITY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d{5,6}) \| .* \| (.*) \| (.*) \|$", text, re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(SCRIPTS)
    for number, theirs, ours in rows:
        assert ours == "passes"
        assert theirs.split()[0] in {"hangs", "loses", "raises", "passes"}
        assert side_by_side.row(int(number), SCRIPTS[int(number)], theirs, ours) in text


@pytest.mark.parametrize(
    ("program", "outcome"),
    [
        ("pass", "passes"),
        ("import time\ntime.sleep(60)", "hangs"),
        ("import sys\nsys.exit('loses: two of three')", "loses"),
        ("raise LookupError('nothing')", "raises LookupError"),
        ("raise SystemExit(3)", "exit code 3"),
    ],
)
def test_outcome_is_told(program, outcome, tmp_path):
    (tmp_path / "program.py").write_text(program)
    timeout = 1 if outcome == "hangs" else side_by_side.HANGS_AFTER_S
    assert side_by_side.outcome(side_by_side.play(tmp_path / "program.py", "stdlib", timeout)) == outcome


def test_what_is_left_behind_is_told():
    assert side_by_side.outcome(session.Ended("", "", 0, 0.1, left=["12 sleep"])) == "leaves processes"
