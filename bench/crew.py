"""Processes that begin together and report when they are done, over plain pipes.

The gate uses nothing of the implementation under test but Process, so that its own cost is the same for all. The
clock is CLOCK_MONOTONIC, one for the whole machine: the end that counts is the time each process wrote down itself,
not the moment the parent heard of it.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from typing import Any

Task = tuple[Callable[..., Any], tuple[Any, ...]]


def _member(function: Callable[..., Any], args: tuple[Any, ...], ready: int, gate: int, done: int) -> None:
    os.write(ready, b"r")
    os.read(gate, 1)
    function(*args)
    os.write(done, struct.pack("d", time.monotonic()))


def _read_exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(fd, size - len(data))
        if not part:
            raise RuntimeError("a process of the crew died before it was done")
        data += part
    return data


def run_together(mp: Any, tasks: list[Task]) -> float:
    """Runs each task in a process of its own; seconds from the opening of the gate to the end of the last."""
    ready_r, ready_w = os.pipe()
    gate_r, gate_w = os.pipe()
    done_r, done_w = os.pipe()
    crew = [mp.Process(target=_member, args=(f, args, ready_w, gate_r, done_w)) for f, args in tasks]
    try:
        for process in crew:
            process.start()
        # Our own write ends go, so that a crew that died is an end of file here and not a hang.
        os.close(ready_w)
        os.close(done_w)
        _read_exactly(ready_r, len(crew))
        begin = time.monotonic()
        os.write(gate_w, b"g" * len(crew))
        ends = [struct.unpack("d", _read_exactly(done_r, 8))[0] for _ in crew]
        for process in crew:
            process.join()
        return max(ends) - begin
    finally:
        for fd in (ready_r, gate_r, gate_w, done_r):
            os.close(fd)
