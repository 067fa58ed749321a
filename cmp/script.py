"""The command line of `python -m cmp`: runs a program as python itself would, with the alias on."""

from __future__ import annotations

import os
import sys
from importlib.machinery import BuiltinImporter

from . import _core, alias

__all__ = ["main"]

HELP = """\
usage: python -m cmp [-m module | -c code | script.py | folder | file.zip | -] [arguments]

Runs a Python program unmodified, as python does, except that `multiprocessing` is cmp there, in all modules that the
program imports and in all processes that it starts.

To use cmp in one module only:  import cmp as multiprocessing
"""


def main() -> None:
    """Takes sys.argv as `python -m cmp ...` got it. Called by cmp/__main__.py, whose globals are gone afterwards."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return
    first = arguments[0]
    if first in ("-c", "-m") and len(arguments) == 1:
        sys.exit(f"Argument expected for the {first} option\n{HELP}")
    if first.startswith("-") and first not in ("-c", "-m", "-"):
        sys.exit(f"python -m cmp does not know {first}: options for python go before -m\n{HELP}")
    alias.install()
    if first == "-c":
        _prepare(["-c", *arguments[2:]], "")
        _finish(_core.run_string(arguments[1] + "\n"))
    elif first == "-m":
        _prepare(["-m", *arguments[2:]], None)
        _finish(_core.run_module(arguments[1], True))
    elif first == "-":
        _prepare(arguments, "")
        _finish(_core.run_stdin())
    elif _is_imported(os.path.abspath(first)):
        _prepare(arguments, os.path.abspath(first), imported=True)
        _finish(_core.run_module("__main__", False))
    else:
        _prepare(arguments, os.path.dirname(os.path.realpath(first)))
        _finish(_core.run_file(os.path.abspath(first)))


def _is_imported(path: str) -> bool:
    """Is it a folder or a zip file, or what else there is a hook for? (pkgutil knows that, too, and takes 3 ms.)"""
    for hook in sys.path_hooks:
        try:
            hook(path)
        except ImportError:
            continue
        return True
    return False


def _prepare(argv: list[str], first_path: str | None, *, imported: bool = False) -> None:
    """argv, sys.path[0] and __main__ as python has them when a program begins; `imported` as a folder is."""
    sys.argv[:] = argv
    # Under -P and -I python puts no first entry there, neither for us nor for the program, unless it is imported.
    if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
        if first_path is not None:
            sys.path[0] = first_path
    elif imported and first_path is not None:
        sys.path.insert(0, first_path)
    main_globals = sys.modules["__main__"].__dict__
    builtins = main_globals["__builtins__"]
    main_globals.clear()
    main_globals.update(__name__="__main__", __doc__=None, __package__=None, __loader__=BuiltinImporter, __spec__=None)
    if sys.version_info < (3, 14):
        main_globals["__annotations__"] = {}
    main_globals["__builtins__"] = builtins


def _finish(status: int) -> None:
    """If the status is not 0 a traceback has been printed. After Ctrl-C python ends by that very signal, which it
    does only if the exception comes through to it: so it comes again, in silence."""
    if status and getattr(sys, "last_type", None) is KeyboardInterrupt:
        sys.excepthook = lambda *error: None
        raise KeyboardInterrupt
    if status:
        sys.exit(status)
