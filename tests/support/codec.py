"""The codec as its tests use it: there and back, beside what pickle does."""

from __future__ import annotations

import dataclasses
import pickle
import typing
from collections.abc import Callable
from typing import Any

from support.graphs import difference

from cmp._core import _decode, _encode

# What an encoded object begins with.
PICKLED, INSTANCE = 27, 28
MARK = 0x80  # it is referred to later
ITEM = typing.TypeVar("ITEM")


@dataclasses.dataclass
class Point:
    x: object = 0
    y: object = 0


class Empty: ...


class Box(typing.Generic[ITEM]):
    def __init__(self, item: ITEM | None = None) -> None:
        self.item = item


class Outer:
    class Inner:
        def method(self): ...

        @staticmethod
        def static(): ...


class Fails:
    """Raises a ZeroDivisionError as it is dumped, or as it is loaded."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __reduce__(self):
        if self.where == "dump":
            raise ZeroDivisionError("while pickling")
        return (divmod, (1, 0))


def travel(value: Any) -> Any:
    return _decode(_encode(value))


def by_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value, 5))


def is_pickled(value: Any) -> bool:
    return _encode(value)[0] == PICKLED


def is_an_instance(value: Any) -> bool:
    """Not pickled: as the object of an ordinary class."""
    return _encode(value)[0] & ~MARK == INSTANCE


def same_as_pickle(value: Any) -> None:
    assert difference(travel(value), by_pickle(value)) is None


def error_of(function: Callable, *args: Any) -> tuple[type[BaseException], str]:
    """Type and words of the error that it raises."""
    try:
        function(*args)
    except BaseException as error:
        return type(error), str(error)
    raise AssertionError("there was none")
