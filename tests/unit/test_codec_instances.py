"""Instances of ordinary classes travel in our own encoding, and come out exactly as pickle would have them."""

from __future__ import annotations

import dataclasses
import gc
import os
import pickle
import subprocess
import sys
import types
from multiprocessing.reduction import ForkingPickler

import pytest
from support.codec import Box, Empty, Point, by_pickle, error_of, is_an_instance, travel

import cmp
from cmp._core import _decode, _encode


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: object = 0


class Outer:
    class Inner:
        def __init__(self):
            self.name = "inner"


class Bare:
    __slots__ = ()


class Made:
    """Has a __new__, a __setattr__ and a property, none of which takes part when it is made again but __new__."""

    made = 0

    def __new__(cls):
        cls.made += 1
        return super().__new__(cls)

    def __init__(self):
        self.__dict__["held"] = 1

    def __setattr__(self, name, value):
        raise AttributeError(name)

    @property
    def held(self):
        return "property"


class Restores:
    """Keeps what __setstate__ is given."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def __setstate__(self, state):
        self.given = state


@pytest.mark.parametrize(
    "value",
    [
        Point(1, "b"),
        Frozen([1]),
        Empty(),
        Outer.Inner(),
        Box(3),
        Bare(),
        Made(),
        Restores(a=1, b=[2]),
        Restores(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_ordinary_instances_need_no_pickle(value):
    assert is_an_instance(value)
    got, expected = travel(value), by_pickle(value)
    assert type(got) is type(expected) is type(value)
    assert getattr(got, "__dict__", None) == getattr(expected, "__dict__", None)
    assert travel([value, value])[0] is not value


def test_setstate_gets_a_dict_of_its_own_and_only_if_there_is_a_state():
    for attributes in ({}, {"a": 1}, {"a": [1], "b": None}, {f"attribute_{i}": i for i in range(40)}):
        got, expected = travel(Restores(**attributes)), by_pickle(Restores(**attributes))
        assert got.__dict__ == expected.__dict__
        assert ("given" in got.__dict__) == bool(attributes)


def test_many_attributes_and_odd_names_travel():
    value = Empty()
    value.__dict__.update({f"attribute_{i}": i for i in range(300)}, **{"": 0, "é": 1, "中": 2, "x" * 300: 3, "a b": 4})
    assert is_an_instance(value)
    got = travel(value)
    assert got.__dict__ == value.__dict__ and list(got.__dict__) == list(value.__dict__)
    value.__dict__[7] = "seven"
    assert travel(value).__dict__ == by_pickle(value).__dict__ == value.__dict__


def test_names_of_attributes_are_interned():
    name = "".join(["not_yet_", "seen_anywhere"])
    value = Empty()
    value.__dict__["".join(["an_attribute", "_with_its_name"])] = setattr(value, name, 1)
    for got in (travel(value), by_pickle(value)):
        assert all(key is sys.intern(key) for key in got.__dict__)


def test_shared_instances_and_cycles_are_kept():
    point = Point([1])
    point.y = point
    got = travel([point, point.x, point])
    assert got[0] is got[2] is got[0].y and got[0].x is got[1]
    ring = Point(Point(Point()))
    ring.x.x.x = ring
    got = travel(ring)
    assert got.x.x.x is got
    tangle = (Point(),)
    tangle[0].x = tangle
    got = travel(tangle)
    assert type(got) is tuple and got[0].x is got
    for kind in (set, frozenset):
        held = Empty()
        held.group = kind([held, 1])
        got = travel(held.group)
        me = next(item for item in got if item != 1)
        assert me.group is got and type(got) is kind


@dataclasses.dataclass(eq=False)
class Curious:
    group: list

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.found = [type(item) for item in self.group]


def test_a_list_has_no_holes_while_its_items_look_at_it():
    message = [1, 2.5]
    message.append(Curious(message))
    message.append("last")
    got = travel(message)
    assert got[2].group is got and got[3] == "last"
    assert got[2].found in ([], [int, float])  # pickle's list is empty then, ours has what came before


def test_a_dict_of_attributes_that_is_in_the_message_too_is_pickles():
    value = Point(1, 2)
    for message in ([value, value.__dict__], [value.__dict__, value], (value, [value.__dict__] * 2)):
        got, expected = travel(message), by_pickle(message)
        assert got == expected
        assert got[0] is not expected[0]
    got = travel([value, value.__dict__])
    got[1]["x"] = 5
    assert got[0].x == 1  # as with pickle: the state was copied into the instance


def test_class_travels_once_and_ends_up_the_same():
    data = _encode([Point(i) for i in range(100)])
    assert data.count(b"Point") == 1
    got = _decode(data)
    assert {type(point) for point in got} == {Point} and [point.x for point in got] == list(range(100))
    assert [type(x) if isinstance(x, Point) else x for x in travel([Point, Point(), Point])] == [Point] * 3


@pytest.mark.parametrize("depth", [10, 98, 99, 100, 101, 150])
def test_long_chains_travel(depth):
    chain = None
    for _ in range(depth):
        chain = Box(chain)
    got = travel(chain)
    for _ in range(depth):
        got = got.item
    assert got is None


def test_classes_that_cannot_be_found_are_pickles_errors():
    class Local: ...

    assert error_of(_encode, Local()) == error_of(ForkingPickler.dumps, Local())
    impostor = type("Point", (), {"__module__": __name__})
    assert error_of(_encode, impostor()) == error_of(ForkingPickler.dumps, impostor())
    module = types.ModuleType("codec_instances_gone")
    sys.modules[module.__name__] = module
    try:
        module.Gone = type("Gone", (), {"__module__": module.__name__})
        ours, theirs = _encode(module.Gone()), pickle.dumps(module.Gone())
        del module.Gone
        assert error_of(_decode, ours) == error_of(pickle.loads, theirs)
        module.Gone = len
        with pytest.raises(ValueError, match="cannot have instances"):
            _decode(ours)
        module.Gone = Point
        assert type(_decode(ours)) is Point
    finally:
        del sys.modules[module.__name__]


class Demands:
    def __new__(cls, wanted):
        return super().__new__(cls)


class Raises:
    def __init__(self):
        self.a = 1

    def __setstate__(self, state):
        raise ZeroDivisionError("while loading")


def test_errors_in_making_it_again_are_the_users():
    for value in (Demands(1), Raises()):
        assert error_of(_decode, _encode(value)) == error_of(pickle.loads, pickle.dumps(value, 5))
    assert travel(Point(1)) == Point(1)


class Meddles:
    """Looks at the whole while it is being made again, as __setstate__ may."""

    def __init__(self, parent):
        self.parent = parent

    def __setstate__(self, state):
        self.seen = sorted(vars(state["parent"]))


def test_an_instance_has_no_attributes_before_all_are_there():
    parent = Empty()
    parent.first, parent.child, parent.last = 1, Meddles(parent), 2
    assert travel(parent).child.seen == by_pickle(parent).child.seen == []


def test_finalizers_that_run_meanwhile_do_no_harm():
    """Before Python 3.12 any new dict may collect garbage; encoding must not be where that happens."""

    class Finalized:
        def __init__(self, victim):
            self.me, self.victim = self, victim

        def __del__(self):
            self.victim.clear()

    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            victim = [Point(i) for i in range(30)]
            Finalized(victim)
            data = _encode(victim)
            assert len(_decode(data)) in (0, 30)
    finally:
        gc.set_threshold(*thresholds)


def test_instances_of_the_main_module_travel_to_children(tmp_path):
    code = """
import dataclasses, sys
import cmp
@dataclasses.dataclass
class Message:
    number: int
    text: str
def answer(asked, told):
    message = asked.get()
    assert type(message) is Message
    told.put(Message(message.number + 1, message.text * 2))
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        ctx = cmp.get_context(method)
        asked, told = ctx.Queue(), ctx.Queue()
        child = ctx.Process(target=answer, args=(asked, told))
        child.start()
        asked.put(Message(1, "ab"))
        assert told.get(timeout=100) == Message(2, "abab")
        child.join()
"""
    root = os.path.dirname(os.path.dirname(cmp.__file__))
    script = tmp_path / "messages.py"
    script.write_text(code)
    subprocess.run([sys.executable, script], check=True, timeout=150, env={**os.environ, "PYTHONPATH": root})


def test_lookup_of_the_class_raises_pickles_audit_event():
    code = """
import sys, dataclasses
from cmp._core import _encode, _decode
class Plain: ...
data, seen = _encode(Plain()), []
sys.addaudithook(lambda event, args: seen.append(args) if event == "pickle.find_class" else None)
_decode(data)
assert seen == [("__main__", "Plain")], seen
"""
    root = os.path.dirname(os.path.dirname(cmp.__file__))
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100, env={**os.environ, "PYTHONPATH": root})
