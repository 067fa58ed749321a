"""What other code takes from the five modules that are cmp's own, though it is not public there.

Helpers and imports that the standard library's namesake has and nobody listed are that module's own objects, fetched
when somebody asks. Classes derived from a queue or a pool are looked at when they are made (see insides).
"""

from __future__ import annotations

import multiprocessing as _stdlib
from collections.abc import Callable
from importlib import import_module

__all__ = ["namesake", "watch_subclasses"]


def namesake(name: str) -> Callable[[str], object]:
    """A module's __getattr__. Under the alias the namesake is loaded already, and is found where it always was."""

    def __getattr__(attribute: str) -> object:
        if not attribute.startswith("__"):
            theirs = getattr(_stdlib, name, None) or import_module(f"{_stdlib.__name__}.{name}")
            if hasattr(theirs, attribute):
                return getattr(theirs, attribute)
        raise AttributeError(f"module 'cmp.{name}' has no attribute {attribute!r}")

    return __getattr__


def watch_subclasses(*classes: type) -> None:
    """Has the classes that are derived from these looked at."""
    for cls in classes:
        cls.__init_subclass__ = classmethod(_settling(cls))


def _settling(cls: type) -> Callable[..., None]:
    def __init_subclass__(derived: type, **keywords: object) -> None:
        super(cls, derived).__init_subclass__(**keywords)
        import_module("cmp.insides").settle(cls, derived)

    return __init_subclass__
