"""What a process holds: measured before and after a work is repeated, it must not have grown."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields

from support import leaks


class _Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def _c_bytes() -> int:
    """Bytes that are allocated from the C library; 0 where it does not say (musl, glibc before 2.33)."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        return 0
    mallinfo2.restype = _Mallinfo
    found = mallinfo2()
    return found.uordblks + found.hblkhd


def _mappings() -> list[str]:
    with open("/proc/self/maps") as maps:
        return maps.read().splitlines()


def _resident_kib() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def _forget_names() -> None:
    """The interpreter remembers 4096 names that it has looked up in types, also those made for that alone."""
    from_3_13 = getattr(sys, "_clear_internal_caches", None)
    (from_3_13 or sys._clear_type_cache)()


@dataclass
class Holdings:
    blocks: int  # of Python's allocator
    c_kib: int
    mappings: int  # of shared memory, which come and go with what made them
    descriptors: int
    children: int
    threads: int
    resident_kib: int

    @classmethod
    def now(cls) -> Holdings:
        _forget_names()
        for _ in range(3):
            gc.collect()
        multiprocessing.active_children()
        shared = sum("memfd:" in line or "/dev/zero" in line for line in _mappings())
        children, descriptors, threads = leaks.children(), leaks.descriptors(), os.listdir("/proc/self/task")
        resident = _resident_kib()
        return cls(
            sys.getallocatedblocks(),
            _c_bytes() // 1024,
            shared,
            len(descriptors),
            len(children),
            len(threads),
            resident,
        )


@dataclass
class Allowance:
    """For each repetition, and once for caches that fill."""

    blocks: float = 0.05
    c_kib: float = 0.004
    resident_kib: float = 0.1


ONCE = {"blocks": 60, "c_kib": 96, "resident_kib": 3072}
PATIENCE_S = 10.0


def grown(before: Holdings, after: Holdings, times: int, allowance: Allowance) -> list[str]:
    found = []
    for field, was, now in zip(fields(Holdings), astuple(before), astuple(after), strict=True):
        allowed = ONCE.get(field.name, 0) + times * getattr(allowance, field.name, 0)
        if now - was > allowed:
            found.append(f"{field.name}: {was} -> {now} in {times} times")
    return found


def check(work: Callable[[int], object], times: int, allowance: Allowance | None = None) -> Holdings:
    """Repeats a work so often, after a tenth of that to fill caches. What is still ending is waited for."""
    allowance = allowance or Allowance()
    work(max(times // 10, 1))
    before = Holdings.now()
    work(times)
    deadline = time.monotonic() + PATIENCE_S
    while left := grown(before, after := Holdings.now(), times, allowance):
        if time.monotonic() > deadline:
            # Some caches fill late; what leaks goes on leaking.
            middle = Holdings.now()
            work(times)
            again = grown(middle, Holdings.now(), times, allowance)
            still = [what for what in left if what.partition(":")[0] in {other.partition(":")[0] for other in again}]
            assert not still, "; ".join(still + again)
            break
        time.sleep(0.02)
    return after
