"""The alias of `python -m cmp`: `multiprocessing` and its submodules, as everybody imports them from now on, are cmp's.

Each comes at its first use, as in the standard library. What the stdlib's modules that are loaded by now import at run
time (`from . import util`) resolves through cmp as well; those that are loaded later see their own kind (kin.py).
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, spec_from_loader

import cmp

from . import _stdlib, kin

__all__ = ["install", "is_installed"]

OWN = ("context", "queues", "synchronize", "pool", "managers", "shared_memory")


class _Finder:
    """Finds `multiprocessing.x`: cmp's, or the stdlib's where that is cmp's, too."""

    @staticmethod
    def find_spec(full, path=None, target=None):
        package, _, name = full.partition(".")
        if package != _stdlib.__name__ or not name:
            return None
        if name in OWN:
            return spec_from_loader(full, kin.Stand(lambda: import_module(f"cmp.{name}")))
        spec = find_spec(f"{kin.__name__}.{name}")
        return spec and spec_from_loader(full, kin.Stand(lambda: kin.theirs(name)))


def install() -> None:
    """Switches; for good, in this process and in those that it starts."""
    if is_installed():
        return
    loaded = [name for name in OWN if f"{_stdlib.__name__}.{name}" in sys.modules]
    modules = {f"{_stdlib.__name__}.{name}": import_module(f"cmp.{name}") for name in loaded}
    cmp.__path__ = [*cmp.__path__, *_stdlib.__path__]
    sys.meta_path[:0] = (_Finder, kin.Finder)
    sys.modules.update(modules)
    sys.modules[_stdlib.__name__] = cmp
    cmp._package = _stdlib.__name__


def is_installed() -> bool:
    """Does `import multiprocessing` give cmp here?"""
    return sys.modules.get(_stdlib.__name__) is cmp
