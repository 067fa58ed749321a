"""A process is killed at every named store that it reaches, one by one, before and after it; the others go on.

A walk is a scenario, played once for each kill in a process of its own. First it is played with all passes of its
victim counted, which gives the list of points; then each is played with the victim armed. The scenario says who the
victim is, by calling `run.arm()` there, and checks what the survivors find; this module sees to it that the scenario
ends, and that no process is left behind.

Needs a build with fault points, which run.py makes.
"""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator

from cmp import _core

PATIENCE_S = 100  # for one scenario, on a loaded machine
LEAVING_S = 20  # for the processes that a scenario leaves behind to end, which takes them some milliseconds
SET_CHILD_SUBREAPER = 36
FAILED = 99

POINTS = _core._fault_points()


class Run:
    """One play of a scenario. Its page is shared by all of its processes."""

    def __init__(self, point: str | None = None, after: bool = False, count: int = 0, number: int = signal.SIGKILL):
        self.point, self.after, self.count, self.signal = point, after, count, number
        self.page = mmap.mmap(-1, mmap.PAGESIZE)
        self.counters = mmap.mmap(-1, max(4 * len(POINTS), 1))

    def __str__(self) -> str:
        return f"{self.point}:{'after' if self.after else 'before'}:{self.count}"

    def arm(self) -> None:
        """In the victim: from here on the point counts."""
        struct.pack_into("I", self.page, 0, os.getpid())
        if self.point is None:
            _core._fault_count(self.counters)
        else:
            _core._fault_arm(self.point, self.after, self.count, self.signal)

    @property
    def victim(self) -> int:
        """The pid of the one that was armed, 0: nobody was."""
        return struct.unpack_from("I", self.page, 0)[0]

    def passes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for i, name in enumerate(POINTS):
            n = struct.unpack_from("I", self.counters, 4 * i)[0]
            if n > 0:
                found[name] = found.get(name, 0) + n
        return found


def counts_of(passes: int, full: bool) -> list[int]:
    """Which of a point's passes to die at."""
    few = {0, passes // 2}
    return sorted(few | {1, 2, 5, passes - 1} & set(range(passes)) if full else few)


def runs_of(reached: dict[str, int], full: bool, number: int) -> Iterator[Run]:
    for name, passes in sorted(reached.items()):
        for after in (False, True):
            for count in counts_of(passes, full):
                yield Run(name, after, count, number)


def start(play: Callable[[Run], None], run: Run, output) -> int:
    """The scenario's own process, the leader of a session."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid > 0:
        return pid
    status = FAILED
    try:
        os.setsid()
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        faulthandler.dump_traceback_later(PATIENCE_S - 5, exit=False, file=output)
        play(run)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(pid: int, deadline: float) -> int | None:
    """Its exit code, None where it has not ended by then."""
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.002)


def children() -> list[int]:
    found: list[int] = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            found += map(int, file.read().split())
    return found


def orphans_left(deadline: float) -> list[int]:
    """This process is the reaper of all that the scenario leaves behind; those still there at the deadline."""
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return []
        if time.monotonic() > deadline:
            return children()
        time.sleep(0.002)


def what_is_wrong(play: Callable[[Run], None], run: Run, dies: bool) -> str | None:
    """`dies`: the victim is the scenario's own process."""
    with tempfile.TemporaryFile("w+") as output:
        pid = start(play, run, output)
        code = wait(pid, time.monotonic() + PATIENCE_S)
        wrong = None
        if code is None:
            wrong = "it hangs"
        elif code != 0 and not (dies and code == -signal.SIGKILL and run.victim == pid):
            wrong = f"it ended with {code}"
        else:
            left = orphans_left(time.monotonic() + LEAVING_S)
            if left:
                wrong = f"it left processes behind: {[command_of(pid) for pid in left]}"
        if wrong is not None:
            if code is None:
                os.kill(pid, signal.SIGKILL)
            for orphan in children():
                os.kill(orphan, signal.SIGKILL)
            orphans_left(time.monotonic() + LEAVING_S)
            output.seek(0)
            wrong += "\n" + output.read()
        return wrong


def command_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read()
    except OSError:
        return str(pid)


def was_killed(run: Run) -> bool:
    """Did the victim die at its point? The scenario writes so when it has seen the death, or, where its own process is
    the victim, beforehand, and takes it back at its end."""
    return run.page[4] == 1


def note_death(run: Run) -> None:
    run.page[4] = 1


def walk(
    name: str,
    play: Callable[[Run], None],
    *,
    dies: bool = False,
    full: bool = False,
    only: str | None = None,
    number: int = signal.SIGKILL,
) -> bool:
    """Plays the scenario for every point that its victim reaches. True: all is well."""
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1)
    began = time.monotonic()
    first = Run()
    wrong = what_is_wrong(play, first, dies)
    if wrong is None and not first.passes():
        wrong = "the victim reached no point"
    if wrong is not None:
        print(f"{name}: with nobody killed: {wrong}")
        return False
    played = kills = 0
    for run in runs_of(first.passes(), full, number):
        if only is not None and str(run) != only:
            continue
        played += 1
        wrong = what_is_wrong(play, run, dies)
        if wrong is not None:
            print(f"{name}: {run}: {wrong}\nagain: make crash-py CRASH='{name} {run}'")
            return False
        kills += was_killed(run)
    print(f"{name:28s} {len(first.passes()):4d} points, {kills:5d} kills, {time.monotonic() - began:5.1f} s")
    if only is None and kills * 2 < played:
        print(f"{name}: only {kills} of {played} kills found their point")
        return False
    return True
