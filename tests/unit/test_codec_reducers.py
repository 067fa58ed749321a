"""The codec asks the reducers that pickle would ask, and raises the errors that pickle would."""

from __future__ import annotations

import copyreg
import pickle
import sys
import threading
import types
from multiprocessing.reduction import ForkingPickler

import pytest
from support.codec import Fails, error_of, travel
from support.graphs import Plain, plain_function

from cmp._core import _decode, _encode


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
    type("Local", (), {}),
    type("Local", (), {})(),
    memoryview(b"a"),
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
