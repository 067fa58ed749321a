"""The lines of the notes that are not Python as printed, and what makes them so: the only changes made to them.

Each is needed: test_repairs.py takes them out one by one and looks for the error named in `without`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Repair:
    note: str
    line: int
    found: str  # the piece of the line to be replaced, wherever it stands in it
    to: str
    why: str
    without: str = "SyntaxError"  # what Python says of the line as printed

    def apply(self, line: str) -> str:
        assert self.found in line, f"{self.note}:{self.line} has no {self.found!r}"
        return line.replace(self.found, self.to)


def _full_width(note: str, line: int, found: str, to: str) -> Repair:
    return Repair(note, line, found, to, "full-width punctuation")


def _annotation(note: str, line: int, found: str) -> Repair:
    return Repair(note, line, found, "# " + found, "the writer's annotation between the lines of code")


def _remark(line: int, found: str, to: str = "") -> Repair:
    return Repair("004", line, found, to, "the value expected, remarked behind the statement")


REPAIRS = [
    Repair("001", 64, "mulp", "multip", "misspelt module", "NameError"),
    Repair("001", 128, "multiprocess.", "multiprocessing.", "misspelt module", "NameError"),
    _full_width("002", 30, "：", ":"),
    Repair("002", 51, "ps.", "os.", "misspelt module", "NameError"),
    _full_width("002", 163, "：", ":"),
    _full_width("002", 164, "，", ","),
    _full_width("002", 170, "：", ":"),
    Repair("004", 12, "**", "", "bold type"),
    Repair("004", 12, "import Process", "import Process\nfrom time import sleep", "missing import", "NameError"),
    _annotation("004", 13, "multi"),
    _annotation("004", 14, "1、"),
    _annotation("004", 15, "2、"),
    _annotation("004", 21, "**程序"),
    _annotation("004", 22, "**创建"),
    _annotation("004", 24, "**启动"),
    _annotation("004", 46, "**主进程"),
    _annotation("004", 47, "**等待"),
    _annotation("004", 48, "**后期"),
    _remark(67, "---->0"),
    _remark(69, "---->20  真实为0"),
    _remark(71, "---->30"),
    _remark(76, "---->0"),
    _remark(79, "---->20"),
    _annotation("004", 83, "**在创建"),
    _remark(90, "---->30  真实为0"),
    Repair("004", 90, "%money", "%money)", "missing parenthesis"),
    _annotation("004", 98, "**os"),
    Repair("004", 105, "   \t", "    ", "a tab that steps out of the block", "IndentationError"),
    _annotation("004", 106, "(**进程池"),
    _annotation("004", 107, "**表示"),
    _annotation("004", 108, "**由于"),
    _annotation("004", 111, "**创建"),
    _annotation("004", 113, "**apply"),
    _annotation("004", 114, "**进程池对象"),
    _annotation("004", 116, "**Pool"),
]
