"""What a program of the notes is, and a run of it; the programs themselves are in catalogue.py and interface.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from support import notebook
from support.notebook import Source
from support.session import Ended


@dataclass(frozen=True)
class Run:
    """One run of a program, as its check sees it."""

    ended: Ended
    way: str
    tty: bool
    notes: Path
    folder: Path | None  # what a copying program was told to copy

    @property
    def cmp(self) -> bool:
        return self.way != "stdlib"

    @property
    def lines(self) -> list[str]:
        """The lines printed; \\r\\n, as terminals have it, is a line end and \\r alone is not."""
        return self.ended.stdout.replace("\r\n", "\n").strip("\n").split("\n")

    def said(self, note: str, line: int) -> str:
        """What the note itself says the program prints."""
        return notebook.lines_of(self.notes, note)[line].strip(" #\t")


@dataclass(frozen=True)
class Program:
    name: str
    source: Source
    check: Callable[[Run], None]
    kind: str  # processes, queue, pool, copy
    until: tuple[str, ...] | None = None  # endless: stopped by Ctrl-C when these were printed
    code: int = 0  # the main process's exit code
    copies: str = ""  # "flat" or "nested": asks for the name of a folder to copy
    imports: bool = True  # has an import line to change
    broken: bool = False  # run without its repairs
    fails: bool = False  # something of it ends with a traceback
    tty: bool = field(default=False)  # the one of its kind that is shown to a person as well


PROGRAMS: list[Program] = []


def example(name: str, source: Source, kind: str, **how):
    def add(check: Callable[[Run], None]) -> Callable[[Run], None]:
        PROGRAMS.append(Program(name, source, check, kind, **how))
        return check

    return add


def counts(run: Run, *said: str) -> list[int]:
    """How often each was said by endless processes, and nothing else until Ctrl-C. Unbuffered output into one
    pipe comes string by string: another process may get in before the line end."""
    text = run.ended.stdout.partition("^C")[0]
    numbers = []
    for what in said:
        numbers.append(text.count(what))
        text = text.replace(what, "")
    assert not text.strip(), text
    return numbers


def check_pool(run: Run, *, processes: int, tasks: int, start: str, end: str, begun: str, done: str) -> None:
    """Tasks that say `begun` (number, pid) and `done` (number, seconds), between the main process's two lines."""
    lines = run.lines
    began = [found for line in lines if (found := re.fullmatch(begun, line))]
    ended = [found for line in lines if (found := re.fullmatch(done, line))]
    assert sorted(int(found[1]) for found in began) == list(range(tasks))
    assert sorted(int(found[1]) for found in ended) == list(range(tasks))
    assert len({found[2] for found in began}) <= processes
    assert len(lines) == 2 * tasks + 2
    assert lines.count(start) == 1 and lines[-1] == end
    for found in ended:
        assert 0 <= float(found[2]) < 8
    if run.tty:  # printed as it happened: at no moment more tasks than processes
        running = 0
        for line in lines:
            running += bool(re.fullmatch(begun, line)) - bool(re.fullmatch(done, line))
            assert 0 <= running <= processes
