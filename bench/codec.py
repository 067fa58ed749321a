"""Encoding and decoding, without queues: cmp's codec against pickle 5 and ForkingPickler, in turn in one run.

    python -m bench.codec [--rounds N] [WORD ...]     rows whose names contain a word

Nanoseconds for one encode and one decode each (medians; for ForkingPickler dumps and loads together).
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pickle
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

from cmp._core import _decode, _encode


@dataclasses.dataclass
class Point:
    x: int
    y: float


def rows() -> dict[str, Any]:
    found: dict[str, Any] = {
        "7": 7,
        "(i,)*5": (7,) * 5,
        "the dict": {"a": 42, "b": 33, "c": (1, 2, 3), "d": [1, 2, 3], "e": "123", "f": b"kkk"},
        "dict of longer keys": {"alpha": 42, "beta": 33, "gamma": (1, 2, 3), "delta": [1, 2, 3], "epsilon": "123"},
        "str of 1000": "x" * 1000,
        "bytes of 64 KiB": b"x" * 65536,
        "50 000 ints": list(range(50_000)),
        "50 000 floats": [i / 7 for i in range(50_000)],
        "1000 pairs": [(i, -i) for i in range(1000)],
        "1000 strings": [f"string number {i}" for i in range(1000)],
        "100 small dicts": [{"id": i, "name": f"n{i}", "value": i / 7} for i in range(100)],
        "a function": os.path.join,
        "a builtin": len,
        "a dataclass": Point(1, 2.0),
        "100 dataclasses": [Point(i, i / 7) for i in range(100)],
    }
    try:
        import numpy
    except ImportError:
        return found
    for size, name in ((1000, "array of 8 KB"), (125_000, "array of 1 MB"), (4 << 20, "array of 32 MiB")):
        found[name] = numpy.arange(float(size))
    return found


def loops_for(function: Callable[[], object], seconds: float = 0.02) -> int:
    start = time.perf_counter()
    count = 0
    while time.perf_counter() - start < seconds:
        function()
        count += 1
    return max(1, count)


def time_once(function: Callable[[], object], loops: int) -> float:
    """Nanoseconds for a call, that of an empty function taken off."""
    counter = range(loops)
    start = time.perf_counter_ns()
    for _ in counter:
        function()
    middle = time.perf_counter_ns()
    for _ in counter:
        nothing()
    return (2 * middle - start - time.perf_counter_ns()) / loops


def nothing() -> None: ...


def measure(value: Any, rounds: int) -> list[float]:
    """Medians of: encode, decode, pickle 5 dumps, loads, ForkingPickler dumps and loads."""
    ours, buffers = _encode(value), []
    theirs = pickle.dumps(value, 5, buffer_callback=lambda buffer: buffers.append(bytes(buffer.raw())))
    works: list[Callable[[], object]] = [
        lambda: _encode(value),
        lambda: _decode(ours),
        lambda: [pickle.dumps(value, 5)],
        lambda: pickle.loads(theirs, buffers=buffers),
        lambda: ForkingPickler.loads(ForkingPickler.dumps(value)),
    ]
    loops = [loops_for(work) for work in works]
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, count, found in zip(works, loops, times, strict=True):
            found.append(time_once(work, count))
    return [statistics.median(found) for found in times]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.codec", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}; ns; 'copy' is included in encode (a bytes object is made of it)")
    print(f"{'':20}{'encode':>11}{'decode':>11}{'pickle':>11}{'loads':>11}{'Forking':>11}{'x pickle':>9}{'x Fork.':>9}")
    for name, value in rows().items():
        if options.words and not any(word in name for word in options.words):
            continue
        encode, decode, dumps, loads, forking = measure(value, options.rounds)
        both = encode + decode
        print(
            f"{name:20}{encode:11.0f}{decode:11.0f}{dumps:11.0f}{loads:11.0f}{forking:11.0f}"
            f"{(dumps + loads) / both:9.1f}{forking / both:9.1f}"
        )


if __name__ == "__main__":
    main()
