"""The implementations a row can be given, by name: a module that looks like multiprocessing, or an adapter."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

from bench.registry import Absent


def stdlib() -> Any:
    mp = importlib.import_module("multiprocessing")
    # The same start method for all: from Python 3.14 on the standard library's default is another one.
    mp.set_start_method("fork", force=True)
    return mp


def cmp() -> Any:
    return importlib.import_module("cmp")


def load(name: str, op_bytes: int = 0) -> Any:
    """The implementation `name`, for items of that size; Absent if it is not installed here."""
    if name == "stdlib":
        return stdlib()
    if name == "cmp":
        return cmp()
    from bench import peers

    try:
        make = peers.ADAPTERS[name]
    except KeyError:
        known = ", ".join(["stdlib", "cmp", *peers.ADAPTERS])
        raise SystemExit(f"no implementation named {name!r}; there are {known}") from None
    try:
        return make(op_bytes)
    except ImportError as error:
        raise Absent(str(error)) from None


def namespace(**names: Any) -> SimpleNamespace:
    return SimpleNamespace(**names)
