"""The codec sends functions and classes by their names, as pickle does."""

from __future__ import annotations

import decimal
import fractions
import os
import pickle
import random
import subprocess
import sys
import types
from multiprocessing.reduction import ForkingPickler

import pytest
from support.codec import PICKLED, Outer, error_of, is_pickled, travel
from support.graphs import Plain, difference, plain_function

import cmp
from cmp._core import _decode, _encode

GLOBALS = [
    len,
    open,
    object.__new__,
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
