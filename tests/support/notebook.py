"""The five study notes as a source of programs: lines are read when the tests run, none is kept here.

A program is either a range of a note's lines, taken as it stands but for common indentation, or a text of ours
in which marks stand for pieces of the note: <<17>> is line 17 stripped, <<30/p.name/>> the first match of a
regular expression in line 30, <<11(a, b)>> the call in line 11 with these arguments filled in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from support.repairs import REPAIRS, Repair

MARK = re.compile(r"<<(?P<line>\d+)(?:/(?P<pattern>.+?)/|\((?P<arguments>.*?)\))?>>")


@cache
def lines_of(folder: Path, note: str) -> tuple[str, ...]:
    """The note's lines, the first at index 1, line ends removed."""
    (path,) = folder.glob(f"{note}_*.txt")
    return ("", *path.read_text(encoding="utf-8").split("\n"))


@dataclass(frozen=True)
class Source:
    """Where a program stands: `first` to `last` of a note, or `text` with marks."""

    note: str
    first: int = 0
    last: int = 0
    text: str = ""

    @property
    def lines(self) -> set[int]:
        if self.text:
            return {int(mark["line"]) for mark in MARK.finditer(self.text)}
        return set(range(self.first, self.last + 1))

    @property
    def repairs(self) -> list[Repair]:
        return [repair for repair in REPAIRS if repair.note == self.note and repair.line in self.lines]

    def program(self, folder: Path, without: Repair | None = None) -> str:
        """The program, every repair made but `without`."""
        lines = list(lines_of(folder, self.note))
        for repair in self.repairs:
            if repair is not without:
                lines[repair.line] = repair.apply(lines[repair.line])
        if not self.text:
            return _dedent(lines[self.first : self.last + 1])
        return MARK.sub(lambda mark: _piece(mark, lines[int(mark["line"])].strip()), self.text)


def _piece(mark: re.Match[str], line: str) -> str:
    if mark["pattern"]:
        found = re.search(mark["pattern"], line)
        assert found, f"line {mark['line']} of the note has no {mark['pattern']!r}"
        return found[0]
    if mark["arguments"] is not None:
        return line[: line.index("(") + 1] + mark["arguments"] + ")"
    return line


def _dedent(lines: list[str]) -> str:
    """Takes away the indentation that all lines with anything on them share, be it tabs or blanks."""
    indents = [re.match(r"[ \t]*", line)[0] for line in lines if line.strip()]
    common = min(indents, key=len)
    while not all(indent.startswith(common) for indent in indents):
        common = common[:-1]
    return "".join(line.removeprefix(common) + "\n" for line in lines)


def with_import_form(program: str) -> str:
    """The program with nothing but its import lines changed: the other way to use cmp."""
    program, plain = re.subn(r"(?m)^import multiprocessing(?=[ \t]*(,|$))", "import cmp as multiprocessing", program)
    program, names = re.subn(r"(?m)^from multiprocessing import\b", "from cmp import", program)
    assert plain + names == 1, f"{plain + names} import lines"
    return program
