"""The standard library's own modules, whatever `multiprocessing` has come to mean in the meantime.

Under the alias, `multiprocessing.pool` is cmp's. A module of the standard library that is loaded after the switch has
to find its own kin all the same: in it, `from . import pool` means the standard library's. So it is loaded as a part of
a package that has another name, `cmp.kin`, which is this module; the names it gives itself and its classes stay what
they are. Everything goes by way of the import system, whose locks hold off threads that import the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_loader
from types import ModuleType

from . import _stdlib  # the package itself

__all__ = ["Finder", "Stand", "become", "theirs"]

__path__ = _stdlib.__path__  # a package, then, whose modules the finder below knows


def theirs(name: str) -> ModuleType:
    """A module of the standard library's package, loaded if it is not yet."""
    if sys.modules.get(_stdlib.__name__) is _stdlib:
        full = f"{_stdlib.__name__}.{name}"
    else:
        full = f"{__name__}.{name}"
        if Finder not in sys.meta_path:
            sys.meta_path.insert(0, Finder)
    __import__(full)
    return sys.modules[full]


def become(shell: str, name: str) -> None:
    """Has one of cmp's names stand for a module of the standard library."""
    module = theirs(name)
    waited_for = sys.modules.get(shell)
    sys.modules[shell] = module
    if waited_for is not None:  # by threads that go on with it, see Stand
        vars(waited_for).update((n, value) for n, value in vars(module).items() if not n.startswith("__"))


def __getattr__(name: str) -> object:
    """What a relative import in one of them asks the package for."""
    if not name.startswith("__"):
        if hasattr(_stdlib, name):
            return getattr(_stdlib, name)
        if PathFinder.find_spec(f"{_stdlib.__name__}.{name}", __path__) is not None:
            return theirs(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Finder:
    """On sys.meta_path once `multiprocessing` means something else: finds the modules of this package."""

    @staticmethod
    def find_spec(full: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, name = full.partition(__name__ + ".")
        if package or not name:
            return None
        loaded = _loaded(name)
        if loaded is not None:
            return spec_from_loader(full, Stand(lambda: loaded))
        spec = PathFinder.find_spec(f"{_stdlib.__name__}.{name}", path)
        if spec is None:
            return None
        spec.loader = _Loader(spec.name, spec.loader)
        spec.name = full
        return spec


def _loaded(name: str) -> ModuleType | None:
    """The standard library's module of that name, if it was loaded under its own name."""
    module = _stdlib
    for part in name.split("."):
        module = getattr(module, part, None)
    return module if isinstance(module, ModuleType) else None


class _Loader:
    """The one there is for its file, for a module that calls itself as ever and lies in this package."""

    def __init__(self, name: str, loader: object) -> None:
        self._name, self._loader = name, loader

    def __getattr__(self, attribute: str) -> object:
        return getattr(self._loader, attribute)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return ModuleType(self._name)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        package, _, name = self._name.rpartition(".")
        if package == _stdlib.__name__:
            setattr(_stdlib, name, module)  # where the import system does so for this module's own package


class Stand:
    """A loader of what is there already, or comes from elsewhere.

    That is the module from the beginning, and not something that gives way to it in sys.modules: a thread that waits
    for another's import goes on with what it found there."""

    def __init__(self, find: Callable[[], ModuleType]) -> None:
        self._find = find
        self._spec: object = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = self._find()
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # which the import system has just replaced
