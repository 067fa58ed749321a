"""The codec: what goes in comes out, as pickle would have it, whichever way it travels."""

from __future__ import annotations

import copyreg
import dataclasses
import decimal
import fractions
import functools
import gc
import os
import pickle
import random
import subprocess
import sys
import threading
import tracemalloc
import types
import weakref
from multiprocessing.reduction import ForkingPickler

import pytest
from support.graphs import Plain, Slotted, difference, graph, plain_function

import cmp
from cmp._core import _decode, _encode

PICKLED = 27  # the tag that says: pickle
MARK = 0x80


def travel(value):
    return _decode(_encode(value))


def by_pickle(value):
    return pickle.loads(pickle.dumps(value, 5))


def is_pickled(value) -> bool:
    return _encode(value)[0] == PICKLED


def same_as_pickle(value) -> None:
    assert difference(travel(value), by_pickle(value)) is None


class Outer:
    class Inner:
        def method(self): ...

        @staticmethod
        def static(): ...


@dataclasses.dataclass
class Point:
    x: int
    y: int


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


# ---- identity ----


def test_a_list_inside_itself_comes_back_inside_itself():
    value = []
    value.append(value)
    got = travel(value)
    assert got[0] is got and len(got) == 1
    assert not is_pickled(value)


def test_cycles_through_dicts_and_tuples_are_kept():
    inner = {}
    inner["self"] = inner
    same_as_pickle([inner, inner])
    items = []
    outer = (items, 1)
    items.append(outer)
    assert is_pickled(outer)  # a tuple within itself: only pickle can
    got = travel(outer)
    assert got[0][0] is got


def test_every_tuple_of_a_tangle_of_cycles_is_found():
    lists = [[] for _ in range(8)]
    tuple_ = tuple(lists)
    for one in lists:
        one += [tuple_, lists]
    same_as_pickle(tuple_)
    same_as_pickle(lists)


def test_one_object_met_twice_is_one_object_again():
    for make in (
        lambda: [1],
        lambda: {"k": 1},
        lambda: {1},
        lambda: frozenset([1, 2]),
        lambda: tuple(iter("ab")),
        lambda: "".join(["a", "b"]),
        lambda: "".join(["\xe9", "\u4e2d"]),
        lambda: bytes([1, 2]),
        lambda: list(range(100)),
        lambda: tuple(range(1000, 1100)),
        lambda: b"x" * 5000,
        lambda: "x" * 5000,
        lambda: "x" * 300,
    ):
        value = make()
        for holder in ([value, value], (value, value), {"a": value, "b": [value]}, [[value], 0, "", (value,)]):
            assert not is_pickled(holder)
            same_as_pickle(holder)


def test_equal_objects_that_are_two_stay_two():
    a, b = "".join(["key", "word"]), "".join(["key", "word"])
    got = travel([{a: 1}, {b: 2}, a, b])
    assert [*got[0]][0] is got[2] and [*got[1]][0] is got[3] and got[2] is not got[3]


def test_an_interned_key_and_its_equal_that_is_not_interned_stay_two():
    other = "".join(["al", "pha"])
    same_as_pickle([{"alpha": 1}, other, {other: 2}, {"alpha": 3}, "alpha"])


def test_references_reach_back_over_large_parts():
    shared, large = [1], b"x" * 10000
    value = [large, shared, b"y" * 10000, shared, large, "z" * 100000, shared]
    assert not is_pickled(value)
    same_as_pickle(value)
    same_as_pickle([[i, "k%d" % (i % 7), bytes([i % 256]) * 5000, value] for i in range(300)])


def test_many_shared_objects_are_all_found_again():
    strings = ["number %d" % i for i in range(5000)]
    same_as_pickle([strings, strings[::-1], [(s, s) for s in strings]])


def test_objects_following_one_another_do_not_share():
    """Identity is kept within one object; a memo left over from the last one would show here."""
    shared = [1]
    assert _encode([shared, shared]) == _encode([shared, shared])
    assert difference(travel(shared), [1]) is None


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs_come_out_as_pickle_has_them(seed):
    rng = random.Random(seed)
    for _ in range(250):
        value = graph(rng, instances=seed % 4 == 0)
        found = difference(travel(value), by_pickle(value))
        assert found is None, (seed, found, value)


@pytest.mark.parametrize("depth", [99, 100, 101, 150, 300])
@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}, lambda x: frozenset([x])])
def test_nesting_of_any_depth_that_pickle_takes_travels(depth, wrap):
    value = ()
    for _ in range(depth):
        value = wrap(value)
    if depth <= 99:
        assert not is_pickled(value)
    got = travel(value)
    for _ in range(depth):
        got = got["k"] if isinstance(got, dict) else [*got][0]
    assert got == ()


def test_nesting_too_deep_is_pickles_error_and_does_no_harm():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(RecursionError):
        _encode(value)
    assert travel([1]) == [1]
    while value:  # taken apart here: the interpreter would do it by recursion
        value = value[0]


# ---- globals ----

GLOBALS = [
    len,
    int,
    dict,
    os.getpid,
    os.path.join,
    plain_function,
    Plain,
    Outer,
    Outer.Inner,
    Outer.Inner.method,
    fractions.Fraction.__init__,
    decimal.Decimal,
    OSError,
    types.SimpleNamespace,
    random.Random,
]


@pytest.mark.parametrize("value", GLOBALS, ids=repr)
def test_functions_and_classes_travel_by_name(value):
    assert travel(value) is value
    assert travel([value, value, {value: value}])[0] is value


def test_plain_functions_and_classes_need_no_pickle():
    for value in (len, int, plain_function, Plain, Outer.Inner, Outer.Inner.method):
        assert not is_pickled(value)


def test_a_static_method_is_left_to_pickle():
    assert travel(Outer.Inner.static) is Outer.Inner.static


def test_a_module_not_yet_loaded_is_imported_on_arrival():
    import colorsys

    data = _encode(colorsys.rgb_to_hsv)
    assert data[0] != PICKLED
    kept = sys.modules.pop("colorsys")
    try:
        assert _decode(data).__module__ == "colorsys"
        assert sys.modules["colorsys"] is not kept
    finally:
        sys.modules["colorsys"] = kept


def error_of(function, *args):
    try:
        function(*args)
    except BaseException as error:
        return type(error), str(error)
    return None


def test_a_name_gone_on_arrival_is_pickles_error():
    module = types.ModuleType("cmp_test_gone")
    exec("def function(): ...", module.__dict__)
    sys.modules[module.__name__] = module
    try:
        ours, theirs = _encode(module.function), pickle.dumps(module.function)
        del module.function
        assert error_of(_decode, ours) == error_of(pickle.loads, theirs)
        assert error_of(_decode, ours)[0] is AttributeError
        del sys.modules[module.__name__]
        assert error_of(_decode, ours) == error_of(pickle.loads, theirs)
    finally:
        sys.modules.pop(module.__name__, None)


def test_a_function_hidden_by_another_is_pickles_error():
    def plain_function(): ...

    plain_function.__qualname__ = "plain_function"
    plain_function.__module__ = "support.graphs"
    assert error_of(_encode, plain_function) == error_of(ForkingPickler.dumps, plain_function)
    assert error_of(_encode, plain_function)[0] is pickle.PicklingError


def test_lookups_raise_pickles_audit_event():
    code = """
import sys, os
from cmp._core import _encode, _decode
data, seen = _encode(os.getpid), []
sys.addaudithook(lambda event, args: seen.append(args) if event == "pickle.find_class" else None)
_decode(data)
assert seen == [("posix", "getpid")], seen
"""
    root = os.path.dirname(os.path.dirname(cmp.__file__))
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100, env={**os.environ, "PYTHONPATH": root})


def test_functions_of_the_main_module_are_found_under_both_its_names():
    code = """
import sys
from cmp._core import _encode, _decode
def function(): ...
class Class: ...
sys.modules["__mp_main__"] = sys.modules["__main__"]  # what a spawned child and its parent have
for value in (function, Class):
    assert _decode(_encode(value)) is value
    value.__module__ = "__mp_main__"
    assert b"__mp_main__" in _encode(value) and _decode(_encode(value)) is value
"""
    root = os.path.dirname(os.path.dirname(cmp.__file__))
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100, env={**os.environ, "PYTHONPATH": root})


# ---- reducers ----


def test_reducers_registered_late_are_used():
    value = Plain(1)
    assert travel(value).content == 1
    ForkingPickler.register(Plain, lambda value: (str, ("forking",)))
    try:
        assert travel(value) == "forking" and travel([value]) == ["forking"]
        copyreg.pickle(Plain, lambda value: (str, ("copyreg",)))
        assert travel(value) == "forking"  # as ForkingPickler decides
    finally:
        del ForkingPickler._extra_reducers[Plain]
    try:
        assert travel(value) == "copyreg"
    finally:
        del copyreg.dispatch_table[Plain]
    assert travel(value).content == 1


@pytest.mark.parametrize("register", [copyreg.pickle, ForkingPickler.register])
def test_a_reducer_for_builtin_functions_wins(register):
    kind = types.BuiltinFunctionType
    register(kind, lambda value: (str, ("reduced",)))
    try:
        assert travel(len) == "reduced" == ForkingPickler.loads(ForkingPickler.dumps(len))
    finally:
        copyreg.dispatch_table.pop(kind, None)
        ForkingPickler._extra_reducers.pop(kind, None)


@pytest.mark.parametrize("kind, value", [(list, [1]), (int, 1), (types.FunctionType, plain_function), (type, Plain)])
def test_reducers_that_pickle_does_not_ask_are_not_asked(kind, value):
    ForkingPickler.register(kind, lambda value: (str, ("reduced",)))
    try:
        assert travel(value) == value == ForkingPickler.loads(ForkingPickler.dumps(value))
    finally:
        del ForkingPickler._extra_reducers[kind]


class Encodes:
    """Pickling it encodes something else meanwhile."""

    def __reduce__(self):
        return (list, (travel([Plain(5).content, Plain([1])])[:1],))


def test_a_reducer_may_encode():
    for _ in range(3):
        assert travel([Encodes(), Encodes()]) == [[5], [5]]


class Fails:
    def __init__(self, where):
        self.where = where

    def __reduce__(self):
        if self.where == "dump":
            raise ZeroDivisionError("while pickling")
        return (divmod, (1, 0))


class BadBuffer:
    def __reduce_ex__(self, protocol):
        return (bytes, (pickle.PickleBuffer(memoryview(bytearray(100_000))[::2]),))


UNPICKLABLE = [
    lambda: None,
    (lambda: None).__code__,
    threading.Lock(),
    (i for i in ()),
    sys,
    sys._getframe(),
    BadBuffer(),
    Fails("dump"),
    open,
    type("Local", (), {}),
    type("Local", (), {})(),
    memoryview(b"a"),
    object.__new__,
]


@pytest.mark.parametrize("value", UNPICKLABLE, ids=lambda value: f"{value!r:.30}")
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {"k": (1, x)}], ids=["alone", "list", "dict"])
def test_a_pickling_error_is_forking_picklers(value, wrap):
    value = wrap(value)
    if isinstance(value, BadBuffer) or "BadBuffer" in repr(value):
        expected = error_of(pickle.dumps, value, 5)  # ForkingPickler has no buffers
    else:
        expected = error_of(ForkingPickler.dumps, value)
    assert error_of(_encode, value) == expected
    assert travel([Plain(1)])[0].content == 1  # the pickler is whole again


def test_an_error_in_loading_is_the_users():
    data = _encode(Fails("load"))
    assert error_of(_decode, data)[0] is ZeroDivisionError
    assert travel(Plain(1)).content == 1


def test_nothing_is_kept_alive():
    for holder in (lambda x: x, lambda x: [x, b"x" * 10000, x], lambda x: {"k": x, "big": "y" * 200_000}):
        got = travel(holder(Counted()))
        del got
    error_of(_encode, [Counted(), lambda: None])
    gc.collect()
    assert not Counted.alive


def test_big_values_are_not_kept_alive():
    class Big(bytes): ...

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


def test_a_reducer_that_changes_the_list_does_no_harm():
    value = []

    class Shrinks:
        def __reduce__(self):
            value.clear()
            return (int, ())

    value += [1, Shrinks(), *[[i] for i in range(1000)]]
    try:
        assert travel(value)[0] == 1
    except RuntimeError as error:  # from 3.14 on pickle itself refuses
        assert sys.version_info >= (3, 14) and str(error) == "list changed size during iteration"


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


class Curious(str):
    """A key of a module that encodes when it is compared with another of the same hash."""

    def __hash__(self):
        return hash("looked_up")

    def __eq__(self, other):
        if self.encodes:
            messages, self.encodes = self.encodes, None
            encoded.extend(_encode(message) for message in messages)
        return False

    encodes = None


encoded: list[bytes] = []


def test_what_is_encoded_while_a_name_is_looked_up_disturbs_nothing(monkeypatch):
    module, key = types.ModuleType("curious"), Curious("another")
    vars(module)[key] = None

    def looked_up(): ...

    looked_up.__module__, looked_up.__qualname__, module.looked_up = "curious", "looked_up", looked_up
    monkeypatch.setitem(sys.modules, "curious", module)
    shared, other = [7], [8]
    inner = [list(range(300)), [other, other], shared, [shared]]
    key.encodes = [inner]
    got = travel([shared, looked_up, [shared, shared], shared])
    assert got[0] == [7] and got[1] is looked_up and got[0] is got[2][0] is got[2][1] is got[3]
    assert difference(_decode(encoded.pop()), inner) is None
