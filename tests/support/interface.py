"""Note 003, which has the interface line by line: its lines, made into programs (see catalogue.py)."""

from __future__ import annotations

from pathlib import Path

from support.folders import same_folders
from support.notebook import Source
from support.programs import Run, example


@example(
    "003-process",
    Source(
        "003",
        text="""\
from multiprocessing import Process, current_process
import os
def work(a, b, scale=1):
    print(current_process().name, (a + b) * scale, os.getpid() != parent)
parent = os.getpid()
p = <<11(target=work, args=(1, 2), kwargs={"scale": 10})>>
print(<<34/p.is_alive../>>)
<<17>>
<<21>>
print(<<34/p.is_alive../>>, p.exitcode)
""",
    ),
    "processes",
)
def create_start_join(run: Run) -> None:
    assert run.lines == ["False", "Process-1 30 True", "False 0"] or run.lines == [
        "Process-1 30 True",  # through a pipe a child's output comes first: the parent's waits in its buffer
        "False",
        "False 0",
    ]


@example(
    "003-attributes",
    Source(
        "003",
        text="""\
import multiprocessing
def work(go, pids):
    pids.put(multiprocessing.current_process().pid)
    go.get()
go, pids = multiprocessing.SimpleQueue(), multiprocessing.SimpleQueue()
p = multiprocessing.<<11(target=work, args=(go, pids))>>
print(<<30/p.name/>>, <<32/p.pid/>>, <<34/p.is_alive../>>, <<36/p.daemon/>>)
<<30/p.name/>> = "renamed"
<<36/p.daemon/>> = True
<<17>>
print(<<30/p.name/>>, <<32/p.pid/>> == pids.get(), <<34/p.is_alive../>>, <<36/p.daemon/>>)
try:
    <<36/p.daemon/>> = False
except AssertionError as error:
    print(error)
go.put(None)
<<21>>
print(<<34/p.is_alive../>>)
""",
    ),
    "processes",
)
def the_attributes(run: Run) -> None:
    assert run.lines == [
        "Process-1 None False False",
        "renamed True True True",
        "process has already started",
        "False",
    ]


@example(
    "003-class",
    Source(
        "003",
        text="""\
import multiprocessing
class Counting(multiprocessing.Process):
    def <<43/__init__/>>(self, limit):
        <<43/super../>>.__init__()
        self.limit = limit
    def <<44/run../>>:
        pass
    def <<44/run/>>(self):
        print(self.name, list(range(self.limit)))
p = Counting(3)
<<17>>
<<21>>
print(p.exitcode)
""".replace("    def <<44/run../>>:\n        pass\n", ""),
    ),
    "processes",
)
def a_class_with_run(run: Run) -> None:
    assert run.lines == ["Counting-1 [0, 1, 2]", "0"]


@example(
    "003-pool",
    Source(
        "003",
        text="""\
<<59>>
import os
def func(a, b, *, power):
    return os.getpid() != parent, (a * b) ** power
parent, processes, args, kwds = os.getpid(), 2, (2, 3), {"power": 2}
pool = <<60>>
result = <<64>>
<<71>>
try:
    <<64>>
except ValueError as error:
    print(error)
<<74>>
print(result.get())
""",
    ),
    "pool",
)
def a_pool_by_its_interface(run: Run) -> None:
    assert run.lines == ["Pool not running", "(True, 36)"]


@example(
    "003-threads",
    Source(
        "003",
        text="""\
from multiprocessing import Process
<<91>>
import os, shutil
def copy_all(old, new):
    <<105/os.mkdir/>>(new)
    names = <<104/os.listdir/>>(old)
    threads = []
    for n in range(10):
        <<92(target=copy_some, args=(old, new), kwargs={"names": names[n::10]})>>
        <<97>>
        threads.append(t)
    for t in threads:
        <<99>>
def copy_some(old, new, names):
    for name in names:
        shutil.copy(os.path.join(old, name), os.path.join(new, name))
old = input()
p = <<11(target=copy_all, args=(old, old + "-new"))>>
<<17>>
<<21>>
print("exit code", p.exitcode)
""",
    ),
    "copy",
    copies="flat",
)
def ten_threads_in_a_process(run: Run) -> None:
    assert run.lines[-1] == "exit code 0"
    same_folders(run.folder, Path(f"{run.folder}-new"))
