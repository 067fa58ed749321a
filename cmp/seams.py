"""What other code takes from the five modules that are cmp's own, though it is not public there.

Helpers and imports that the standard library's namesake has and nobody listed are that module's own objects, fetched
when somebody asks. Classes derived from a queue or a pool are looked at when they are made (see insides).
"""

from __future__ import annotations

import multiprocessing as _stdlib
import sys

# `import cmp` loads this module, and need not load typing and importlib for it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

__all__ = ["namesake", "theirs", "watch_subclasses"]


def theirs(name: str) -> ModuleType:
    """A module of the standard library's package, whatever `multiprocessing` has come to mean in the meantime: under
    cmp's own alias all of them are loaded, but somebody else may have put cmp in that place as well."""
    if not hasattr(_stdlib, name):
        full = f"{_stdlib.__name__}.{name}"
        if sys.modules.get(_stdlib.__name__) is _stdlib:
            __import__(full)
        else:
            setattr(_stdlib, name, _load(full))
    return getattr(_stdlib, name)


def _load(full: str) -> ModuleType:
    """Under its name for that long only, which afterwards means what somebody else has made of it."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    spec = PathFinder.find_spec(full, _stdlib.__path__)
    module = module_from_spec(spec)
    meanwhile = sys.modules.get(full)
    sys.modules[full] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.modules.pop(full)
        if meanwhile is not None:
            sys.modules[full] = meanwhile
    return module


def namesake(name: str) -> Callable[[str], object]:
    """A module's __getattr__."""

    def __getattr__(attribute: str) -> object:
        if not attribute.startswith("__") and hasattr(theirs(name), attribute):
            return getattr(theirs(name), attribute)
        raise AttributeError(f"module 'cmp.{name}' has no attribute {attribute!r}")

    return __getattr__


def watch_subclasses(*classes: type) -> None:
    """Has the classes that are derived from these looked at."""
    for cls in classes:
        cls.__init_subclass__ = classmethod(_settling(cls))


def _settling(cls: type) -> Callable[..., None]:
    def __init_subclass__(derived: type, **keywords: object) -> None:
        super(cls, derived).__init_subclass__(**keywords)
        from cmp.insides import settle

        settle(cls, derived)

    return __init_subclass__
