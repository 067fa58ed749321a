"""Picklers that a program puts in ForkingPickler's place: the Python side of src/cmp/py/otherpickler.h."""

from __future__ import annotations

import sys

from .kin import theirs

__all__ = ["wrap"]


def current() -> type:
    """Whose dumps and loads count."""
    return getattr(sys.modules.get("cmp.queues"), "_ForkingPickler", None) or theirs("reduction").ForkingPickler


class _Wrapped:
    """Carries what such a pickler has made, and arrives as what it was made of."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> tuple:
        return _load, (self._data,)


def _load(data: bytes) -> object:
    return current().loads(data)


def wrap(obj: object) -> object:
    return _Wrapped(bytes(current().dumps(obj)))
