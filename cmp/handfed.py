"""Pools that are fed by hand: functions which people add to Pool, most of all a starmap that is lazy.

They build an IMapIterator, make tasks of the iterable by the pool's own helpers, and put both into its task queue. A
pool of cmp's has no such queue; here is what looks like one, and hands the tasks to imap.
"""

from __future__ import annotations

from collections.abc import Iterable

from ._core import ApplyResult, IMapIterator, IMapUnorderedIterator, MapResult, Pool
from .kin import theirs

__all__ = ["open_up"]

_stdlib = theirs("pool")


class _Unfed:
    """What IMapIterator(pool) makes: its results come once its tasks are in the task queue."""

    def __init__(self, pool: Pool, ordered: bool) -> None:
        self._job = next(_stdlib.job_counter)
        self._begin = pool.imap if ordered else pool.imap_unordered
        self._results: IMapIterator | None = None

    def _set_length(self, length: int) -> None:
        """Goes into the task queue with the tasks, and says whose they are."""

    def __iter__(self) -> _Unfed:
        return self

    def __next__(self) -> object:
        return next(self._results)

    def next(self, timeout: float | None = None) -> object:
        """The next result."""
        return self._results.next(timeout)


class _TaskQueue:
    """Pool._taskqueue."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def put(self, work: tuple[Iterable[tuple], object]) -> None:
        tasks, set_length = work
        iterator = getattr(set_length, "__self__", None)
        if not isinstance(iterator, _Unfed):
            raise NotImplementedError("only the tasks of an IMapIterator can be put by hand")
        iterator._results = iterator._begin(_run, tasks)

    def qsize(self) -> int:
        """About how many tasks no worker has begun."""
        return max(0, len(self._pool._cache) - len(self._pool._pool))

    def empty(self) -> bool:
        return self.qsize() == 0


def _run(task: tuple) -> object:
    _, _, function, args, keywords = task
    return function(*args, **keywords)


def _check_running(self: Pool) -> None:
    if self._state != _stdlib.RUN:
        raise ValueError("Pool not running")


def _make_by_hand(kind: type) -> None:
    """Has kind(...) give the standard library's object. Who makes a result himself, for a pool of his own with a
    `_cache`, goes on to `_set` it. What is derived from ours stands for other results, and is made as it is."""
    theirs = getattr(_stdlib, kind.__name__)
    kind.__new__ = staticmethod(
        lambda cls, *args, **keywords: theirs(*args, **keywords) if cls is kind else object.__new__(cls)
    )


def open_up() -> None:
    """Gives the classes what such functions use."""
    _make_by_hand(ApplyResult)
    _make_by_hand(MapResult)
    IMapIterator.__new__ = staticmethod(lambda cls, pool: _Unfed(pool, True))
    IMapUnorderedIterator.__new__ = staticmethod(lambda cls, pool: _Unfed(pool, False))
    Pool._check_running = _check_running
    Pool._get_tasks = staticmethod(_stdlib.Pool._get_tasks)
    Pool._guarded_task_generation = _stdlib.Pool._guarded_task_generation
    Pool._taskqueue = property(_TaskQueue)
