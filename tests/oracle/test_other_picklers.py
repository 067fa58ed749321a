"""Picklers that a program puts in ForkingPickler's place."""

from __future__ import annotations

import io
import multiprocessing.context
import multiprocessing.queues
import pickle
from dataclasses import dataclass
from multiprocessing import reduction

import pytest


class Doubling(reduction.ForkingPickler):
    """Whose complex numbers and points arrive twice as large."""

    @classmethod
    def dumps(cls, obj, protocol=None):
        file = io.BytesIO()
        cls(file, protocol).dump(obj)
        return file.getbuffer()

    def reducer_override(self, obj):
        if isinstance(obj, complex):
            return complex, (2 * obj.real, 2 * obj.imag)
        if isinstance(obj, Point):
            return Point, (2 * obj.x,)
        return NotImplemented


@dataclass
class Point:
    x: int


def queue_s(mp, monkeypatch):
    monkeypatch.setattr(mp.queues, "_ForkingPickler", Doubling, raising=False)


def own_dumps(mp, monkeypatch):
    monkeypatch.setattr(reduction.ForkingPickler, "dumps", Doubling.dumps)


def given_to_a_context(mp, monkeypatch):
    """The standard library looks there when its queues are loaded, which they are by now."""

    class Reducer(reduction.AbstractReducer):
        ForkingPickler = Doubling

    monkeypatch.setattr(multiprocessing.context, "reduction", reduction)
    monkeypatch.setattr(mp.queues, "_ForkingPickler", reduction.ForkingPickler, raising=False)
    mp.get_context("fork").reducer = Reducer()
    mp.queues._ForkingPickler = multiprocessing.context.reduction.ForkingPickler


@pytest.fixture(params=[queue_s, own_dumps, given_to_a_context])
def doubling(request, mp, monkeypatch):
    request.param(mp, monkeypatch)


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
@pytest.mark.parametrize("item", [1j, Point(1), ["text", {1: Point(1)}, 3j], (Point(1), Point)], ids=repr)
def test_pickler_is_the_queues(mp, doubling, kind, item):
    queue = getattr(mp, kind)()
    queue.put(item)
    assert repr(queue.get()) == repr(item).replace("1j", "2j").replace("3j", "6j").replace("x=1", "x=2")
    queue.close()


def test_pickler_is_the_pools(mp, doubling):
    with mp.get_context("fork").Pool(1) as pool:
        assert pool.apply(Point, (1,)).x == 2
        assert [point.x for point in pool.map(Point, [1, 2])] == [2, 4]
        assert [point.x for point in pool.imap(Point, [1, 2])] == [2, 4]


def test_its_errors_are_those_of_the_results(mp, monkeypatch):
    class Refusing(Doubling):
        def reducer_override(self, obj):
            if isinstance(obj, Point):
                raise KeyError("no points")
            return NotImplemented

    monkeypatch.setattr(mp.queues, "_ForkingPickler", Refusing, raising=False)
    with mp.get_context("fork").Pool(1) as pool, pytest.raises(mp.pool.MaybeEncodingError, match="no points"):
        pool.apply(Point, (1,))


def test_loads_of_who_takes_it_reads_it(mp, monkeypatch):
    monkeypatch.setattr(reduction.ForkingPickler, "loads", lambda data: [pickle.loads(data)])
    queue = mp.SimpleQueue()
    queue.put(Point(1))
    assert queue.get() == [Point(1)]
    queue.close()


def test_pickler_that_comes_once_queues_are_loaded_is_not_theirs(mp, monkeypatch):
    class Bare(pickle.Pickler):
        """For what is written into the pipe of a spawned process: it has no dumps."""

    class Reducer(reduction.AbstractReducer):
        ForkingPickler = Bare

    monkeypatch.setattr(multiprocessing.context, "reduction", reduction)
    monkeypatch.setattr(reduction, "ForkingPickler", Bare)
    mp.get_context("fork").reducer = Reducer()
    queue = mp.SimpleQueue()
    queue.put([Point(1), 1j])
    assert queue.get() == [Point(1), 1j]
    queue.close()


def test_afterwards_all_is_as_before(mp, monkeypatch):
    queue = mp.SimpleQueue()
    for change in (queue_s, own_dumps, given_to_a_context):
        with monkeypatch.context() as patch:
            change(mp, patch)
            queue.put(Point(1))
            assert queue.get() == Point(2)
        queue.put(Point(1))
        assert queue.get() == Point(1)
    queue.close()
