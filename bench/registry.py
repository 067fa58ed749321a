"""What a row of the benchmark is, and the list of them.

A row is a function of an implementation module `mp` (multiprocessing, cmp, or an adapter of a peer) and a size.
It does its own set-up, measures only the work, and gives back a Timing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


class Absent(Exception):
    """The implementation has no such thing (get_many on the standard library, numpy not installed)."""


@dataclass(frozen=True)
class Timing:
    """`seconds` of wall time for `ops` operations; `extra` holds further figures, in their own units."""

    seconds: float
    ops: int
    extra: dict[str, float] = field(default_factory=dict)


Limits = Mapping[str, float]


@dataclass(frozen=True)
class Row:
    name: str
    work: Callable[[Any, int], Timing]
    size: int  # operations in a full run
    tiny: int  # operations with --quick
    op_bytes: int = 0  # payload per operation; the table then shows GB/s
    target: float | None = None  # least ratio to the standard library
    limit: Callable[[Limits], float] | None = None  # seconds per operation that the machine allows
    limit_text: str = ""
    only: tuple[str, ...] = ()  # implementations it makes sense for; empty: all
    baseline: str = "stdlib"  # what the ratio is taken over

    @property
    def group(self) -> str:
        return self.name.split(":")[0]


ROWS: dict[str, Row] = {}


def row(name: str, *, size: int, tiny: int, **options: Any) -> Callable[[Callable[[Any, int], Timing]], Any]:
    """Registers the function below as the row `name` ("group: what it does")."""

    def register(work: Callable[[Any, int], Timing]) -> Callable[[Any, int], Timing]:
        if name in ROWS:
            raise ValueError(f"two rows named {name!r}")
        ROWS[name] = Row(name, work, size, tiny, **options)
        return work

    return register


def load() -> dict[str, Row]:
    """All rows, in the order of the table."""
    from bench.rows import array, fifo, lock, manager, pool, process, queue  # noqa: F401

    order = ["queue", "simplequeue", "lock", "sync", "manager", "process", "pool", "array", "fifo", "import"]
    return dict(sorted(ROWS.items(), key=lambda item: order.index(item[1].group)))


def find(name: str) -> Row:
    """A row of the table, or a point of a growth study."""
    rows = load()
    if name not in rows:
        from bench.rows import growth

        rows = growth.POINTS
    return rows[name]
