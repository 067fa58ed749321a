"""Which instances travel in our own encoding, and who has to be asked first: hooks, slots, reducers."""

from __future__ import annotations

import abc
import collections
import copyreg
import dataclasses
import enum
import types
import weakref
from multiprocessing.reduction import ForkingPickler

import pytest
from support.codec import Box, Empty, Point, by_pickle, is_an_instance, travel


class Slots:
    __slots__ = ("a",)


class SlotsAndDict(Slots): ...


class Getstate:
    def __getstate__(self):
        return {"from": "getstate"}


class Reduce:
    def __reduce__(self):
        return Reduce, ()


class ReduceEx:
    def __reduce_ex__(self, protocol):
        return ReduceEx, ()


class Newargs:
    def __getnewargs__(self):
        return ()


class NewargsEx:
    def __getnewargs_ex__(self):
        return (), {}


class Getattr:
    def __getattr__(self, name):
        raise AttributeError(name)


class Getattribute:
    def __getattribute__(self, name):
        return object.__getattribute__(self, name)


class Pretends:
    @property
    def __class__(self):
        return Pretends


class Abstract(abc.ABC): ...  # noqa: B024 - what counts is its metaclass


class Colour(enum.Enum):
    RED = 1


class Error(Exception): ...


class Mapping(dict): ...


class Sequence(list): ...


class Number(int): ...


Pair = collections.namedtuple("Pair", "a b")


@dataclasses.dataclass(slots=True)
class SlottedPoint:
    x: int = 1


@pytest.mark.parametrize(
    "value",
    [
        Slots(),
        SlotsAndDict(),
        Getstate(),
        Reduce(),
        ReduceEx(),
        Newargs(),
        NewargsEx(),
        Getattr(),
        Getattribute(),
        Pretends(),
        Abstract(),
        Colour.RED,
        Error("text"),
        Mapping(k=1),
        Sequence([1]),
        Number(5),
        Pair(1, 2),
        SlottedPoint(),
        types.SimpleNamespace(a=1),
        Box[int](1),
        weakref.WeakValueDictionary,
    ],
    ids=lambda value: type(value).__name__,
)
def test_whoever_has_a_say_in_its_pickling_is_asked(value):
    assert not is_an_instance(value)
    got, expected = travel(value), by_pickle(value)
    assert type(got) is type(expected)
    assert getattr(got, "__dict__", None) == getattr(expected, "__dict__", None)


def outcome(function, value):
    """What it comes to, comparable: the attributes, another value, or the error."""
    try:
        got = function(value)
    except Exception as error:
        return type(error), str(error)
    return sorted(vars(got)) if isinstance(got, Empty) else got


@pytest.mark.parametrize(
    "value",
    [None, 5, lambda *args: (int, ("7",)), lambda *args: {"state": 1}],
    ids=["none", "number", "reduces", "state"],
)
@pytest.mark.parametrize("hook", ["__reduce_ex__", "__reduce__", "__getstate__", "__getnewargs__", "__getnewargs_ex__"])
def test_a_hook_among_the_attributes_is_found(hook, value):
    holder = Empty()
    holder.__dict__[hook] = value
    assert outcome(travel, holder) == outcome(by_pickle, holder)


class Base: ...


class Changing(Base):
    def __init__(self):
        self.a = 1


@pytest.mark.parametrize("owner", [Changing, Base])
@pytest.mark.parametrize(
    "name, hook",
    [
        ("__getstate__", lambda self: {"b": 2}),
        ("__reduce__", lambda self: (Point, (3, 4))),
        ("__reduce_ex__", lambda self, protocol: (Point, (5, 6))),
        ("__getnewargs__", lambda self: ()),
        ("__getattr__", lambda self, name: object.__getattribute__(self, name)),
        ("__slots__", ("a",)),
    ],
)
def test_a_class_that_changes_is_judged_anew(owner, name, hook):
    value = Changing()
    assert is_an_instance(value)
    setattr(owner, name, hook)
    try:
        assert not is_an_instance(value)
        got, expected = travel(value), by_pickle(value)
        assert type(got) is type(expected) and got.__dict__ == expected.__dict__
    finally:
        delattr(owner, name)
        vars(owner).get("__slotnames__", []).clear()
        vars(Changing).get("__slotnames__", []).clear()
    assert is_an_instance(value)


@pytest.mark.parametrize("register", [copyreg.pickle, ForkingPickler.register])
def test_a_reducer_registered_late_wins(register):
    value = Point(1, 2)
    assert is_an_instance(value)
    register(Point, lambda point: (complex, (point.x, point.y)))
    try:
        assert travel([value]) == [1 + 2j]
    finally:
        copyreg.dispatch_table.pop(Point, None)
        ForkingPickler._extra_reducers.pop(Point, None)
    assert is_an_instance(value)
