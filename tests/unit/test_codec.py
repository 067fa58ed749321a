"""The codec: what goes in comes out, as pickle would have it, and nothing stays behind."""

from __future__ import annotations

import decimal
import fractions
import functools
import gc
import os
import random
import sys
import threading
import tracemalloc
import types
import weakref
from multiprocessing.reduction import ForkingPickler

import pytest
from support.codec import Fails, Outer, Point, error_of, is_pickled, same_as_pickle, travel
from support.graphs import Plain, Slotted, plain_function

from cmp._core import _decode, _encode


class Text(str): ...


class Counted:
    """Counts how many of it there are."""

    alive = weakref.WeakSet()

    def __init__(self):
        Counted.alive.add(self)


# ---- values ----


INTEGERS = [
    s * (2**bits + d)
    for bits in (0, 6, 7, 8, 15, 16, 30, 31, 32, 60, 62, 63, 64, 65, 127, 128, 1000)
    for d in (-1, 0, 1)
    for s in (-1, 1)
]


STRINGS = [
    "",
    "a",
    "\x7f",
    "\x80",
    "\xff",
    "\u0100",
    "\U0001f600",
    "\ud800",
    "\udfff",
    "ab",
    "a\xe9",
    "a\u4e2d",
    "a\U0001f600",
    "\0\0",
    "x" * 253,
    "x" * 254,
    "x" * 255,
    "x" * 256,
    "x" * 4095,
    "x" * 4096,
    "\xe9" * 5000,
    "\u4e2d" * 5000,
    "\U0001f600" * 5000,
    "x" * 70000,
    "a\ud800" * 3,
]


PLAIN = [
    None,
    True,
    False,
    0.0,
    -0.0,
    1.5,
    float("inf"),
    float("nan"),
    5e-324,
    b"",
    b"a",
    b"\xff",
    b"\0" * 254,
    b"x" * 4096,
    b"x" * 70000,
    (),
    (None,),
    [],
    [()],
    {},
    {"a": 1},
    {1: 2, "k": [3], (4, 5): {6: 7}},
    set(),
    {1, "a", (2, 3)},
    frozenset(),
    frozenset([1, b"b"]),
    [[[[]]]],
    ((((),),),),
    *INTEGERS,
    *STRINGS,
]


def test_plain_values_travel_in_our_own_encoding():
    for value in PLAIN:
        assert not is_pickled(value), value
        same_as_pickle(value)
        same_as_pickle([value, {"k": (value, 1)}])


@pytest.mark.parametrize("kind", [list, tuple])
def test_long_sequences_of_integers_travel(kind):
    for length in (0, 1, 7, 8, 9, 127, 128, 129, 253, 254, 255, 256, 1000, 70000):
        for first in (-5, 0, 120, 32760, 2**31 - 10, 2**40, -(2**63)):
            value = kind(range(first, first + length))
            assert not is_pickled(value)
            assert travel(value) == value and type(travel(value)) is kind


@pytest.mark.parametrize("other", [None, True, 2**63, -(2**63) - 1, 1.5, "a", Text("t")])
def test_long_sequences_with_one_exception_travel(other):
    for kind in (list, tuple):
        for place in (0, 1, 15, 29):
            for number in (7, 7.5):
                value = [number] * 30
                value[place] = other
                same_as_pickle(kind(value))


def test_extremes_of_a_width_survive_in_bulk():
    for extreme in INTEGERS:
        value = [0] * 20 + [extreme] + [1] * 20
        assert travel(value) == value


OTHERS = [
    Slotted(1),
    [Slotted(1)],
    Text("t"),
    {"k": Text("t")},
    3 + 4j,
    ...,
    NotImplemented,
    range(5),
    slice(1, 2, 3),
    bytearray(b"abc"),
    bytearray(b"x" * 200000),
    decimal.Decimal("1.5"),
    fractions.Fraction(3, 4),
    functools.partial(int, "7"),
    type(None),
    types.SimpleNamespace(a=[1]),
    os.stat_result(range(10)),
    OSError(2, "no"),
    (1, [2, {3: Slotted(5)}]),
    "a".join,
    [].append,
    random.Random(1).random,
    dict.fromkeys,
]


@pytest.mark.parametrize("value", OTHERS, ids=lambda value: f"{value!r:.20}")
def test_everything_else_travels_by_pickle(value):
    assert is_pickled(value)
    got, expected = travel(value), ForkingPickler.loads(ForkingPickler.dumps(value))
    assert type(got) is type(expected)
    assert repr(got) == repr(expected) or got == expected or " at 0x" in repr(got)


def test_true_in_a_list_of_ints_stays_true():
    assert travel([1] * 20 + [True])[-1] is True


def test_a_signalling_nan_keeps_its_bits():
    import struct

    value = struct.unpack("<d", b"\x01\x00\x00\x00\x00\x00\xf4\x7f")[0]
    assert struct.pack("<d", travel([value] * 10)[3]) == struct.pack("<d", value)


# ---- what is kept, and what changes meanwhile ----


def test_nothing_is_kept_alive():
    for holder in (lambda x: x, lambda x: [x, b"x" * 10000, x], lambda x: {"k": x, "big": "y" * 200_000}):
        got = travel(holder(Counted()))
        del got
    error_of(_encode, [Counted(), lambda: None])
    gc.collect()
    assert not Counted.alive


def test_big_values_are_not_kept_alive():
    value = b"x" * 300_000
    before = sys.getrefcount(value)
    _encode([value, Point(1, 2)])
    _encode([value, "a"])
    error_of(_encode, [value, lambda: None])
    assert sys.getrefcount(value) == before


@pytest.mark.parametrize(
    "make",
    [
        lambda: travel([1, "a" * 5000, {"k": (1.5, b"b")}, {1, 2}, 2**70, list(range(50))]),
        lambda: travel([Slotted(1), b"x" * 100_000]),
        lambda: travel([Point(1, [2]), {"k": Point(b"x" * 5000, None)}]),
        lambda: travel([plain_function, len, Outer.Inner]),
        lambda: error_of(_encode, [b"x" * 5000, ["a"], lambda: None]),
        lambda: error_of(_decode, _encode(Fails("load"))),
        lambda: [error_of(_decode, _encode([["k", 2**70], {"a": b"x" * 100}])[:n]) for n in range(0, 120, 7)],
    ],
)
def test_nothing_leaks(make):
    calls = 400
    make()
    tracemalloc.start()
    try:
        # The first rounds may fill what the interpreter itself keeps; an object lost in each call is 24 bytes or more.
        for _ in range(8):
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(calls):
                make()
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
            if grown < 24 * calls:
                return
        pytest.fail(f"{grown} bytes grown in {calls} calls")
    finally:
        tracemalloc.stop()


def test_threads_that_change_what_is_encoded_do_no_harm():
    value = {"list": list(range(100)), "dict": {}, "set": set()}
    done = threading.Event()

    def change():
        i = 0
        while not done.is_set():
            i += 1
            value["list"].append([i])
            value["dict"][i] = Plain(i) if i % 3 == 0 else str(i)
            value["set"].add(i)
            if i % 50 == 0:
                value["list"].clear()
                value["dict"].clear()
                value["set"].clear()

    thread = threading.Thread(target=change)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        for _ in range(2000):
            try:
                assert set(travel(value)) == {"list", "dict", "set"}
            except RuntimeError as error:  # pickle's own: "dictionary changed size during iteration"
                assert "changed" in str(error)
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_a_dict_with_equal_hashes_and_python_comparisons_travels():
    class Key:
        def __hash__(self):
            return 1

        def __eq__(self, other):
            return self is other

    globals()["Key"] = Key
    Key.__qualname__ = "Key"
    value = {Key(): i for i in range(5)}
    assert sorted(travel(value).values()) == [0, 1, 2, 3, 4]
