"""The alias of `python -m cmp`: `multiprocessing` and its submodules, as everybody imports them from now on, are cmp's.

All of the stdlib's modules are loaded before the switch: cmp's own import them by their names at their tops, and would
find themselves later. What the stdlib imports at run time (`from . import util`) resolves through cmp afterwards.
"""

from __future__ import annotations

import multiprocessing as _stdlib
import sys
from importlib import import_module

import cmp

__all__ = ["install", "is_installed"]

OWN = ("context", "queues", "synchronize", "pool", "managers", "shared_memory")
BORROWED = tuple(sorted(cmp._SUBMODULES.difference(OWN)))


def install() -> None:
    """Switches; for good, in this process and in those that it starts."""
    if is_installed():
        return
    for name in BORROWED:
        try:
            import_module("cmp." + name)
        except ImportError:  # sharedctypes, in an interpreter without ctypes
            continue
    for name in OWN:
        import_module(f"{_stdlib.__name__}.{name}")
    modules = {name: import_module("cmp." + name) for name in OWN}
    import_module("cmp.insides")
    # A module that is not loaded yet has to be the stdlib's file under the stdlib's name, and never ours twice.
    cmp.__path__ = [*_stdlib.__path__, *cmp.__path__]
    sys.modules.update({_stdlib.__name__ + "." + name: module for name, module in modules.items()})
    sys.modules[_stdlib.__name__] = cmp


def is_installed() -> bool:
    """Does `import multiprocessing` give cmp here?"""
    return sys.modules.get(_stdlib.__name__) is cmp
