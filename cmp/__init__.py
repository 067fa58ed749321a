"""multiprocessing, rewritten as a C extension: the same names in the same places.

    import cmp as multiprocessing
    python -m cmp script.py

What is a primitive (Process, Queue, Pool, the Manager's queue, the locks) is cmp's own; every other submodule is the
standard library's, under both names.
"""

import multiprocessing as _stdlib
import sys as _sys

try:
    from . import _core  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"the C part of cmp, cmp._core, does not load from {__path__[0]} ({error}). Install the package"
        " (pip install .) and start outside its source folder, which hides what is installed; or build it"
        " there: python setup.py build_ext --inplace"
    ) from error

from . import context
from ._core import AbandonedLockWarning  # noqa: F401  (an addition, so not in __all__)

__all__ = list(_stdlib.__all__)
globals().update((name, getattr(context._default_context, name)) for name in __all__)

SUBDEBUG = _stdlib.SUBDEBUG
SUBWARNING = _stdlib.SUBWARNING

_SUBMODULES = frozenset(
    "connection context dummy forkserver heap managers pool popen_fork popen_forkserver popen_spawn_posix process"
    " queues reduction resource_sharer resource_tracker shared_memory sharedctypes spawn synchronize util".split()
)
_package = __name__  # and the alias's once that is there


def __getattr__(name: str) -> object:
    """Submodules are loaded at their first use."""
    if name in _SUBMODULES:
        __import__(f"{_package}.{name}")
        return _sys.modules[f"{_package}.{name}"]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_SUBMODULES.union(globals()))
