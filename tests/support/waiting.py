"""How tests wait for other processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess

LONG_S = 100  # nobody waits that long unless something is broken
SHORT_S = 0.1


def finish(*processes: BaseProcess) -> None:
    """Waits for their ends, which have to be good ones."""
    for process in processes:
        process.join(LONG_S)
        assert process.exitcode == 0


def sleeps(pid: int) -> bool:
    """Its main thread is in a sleep of its own (not waiting for somebody), as far as the kernel tells."""
    try:
        with open(f"/proc/{pid}/wchan") as file:
            where = file.read()
            return "nanosleep" in where or "poll" in where  # the latter up to 3.10, which sleeps by select
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(fact: Callable[[], object]) -> None:
    """Looks again and again until it is true."""
    deadline = time.monotonic() + LONG_S
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.001)


def asleep(condition: object) -> int:
    """How many wait on it, as a condition's repr says."""
    return int(repr(condition).rpartition(", ")[2].rstrip(")>"))


def state_of(pid: int) -> str:
    """As the kernel calls it: R, S, T, Z ...; X of who is gone."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter between opening and reading
        return "X"
