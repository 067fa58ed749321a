"""The surface: every name of multiprocessing's tree, with its signature, in cmp's tree, on the running Python."""

from __future__ import annotations

import importlib
import inspect
import multiprocessing.managers
import pkgutil
from collections.abc import Iterator

import pytest

import cmp

OWN = ("context", "managers", "pool", "queues", "shared_memory", "synchronize")

# What only the standard library's implementation has: handler threads, a feeder, a pipe, semaphores' names. A class
# that is derived from ours and asks for these gets that implementation (test_subclasses.py).
INSIDES = {
    "Pool": "_get_sentinels _get_worker_sentinels _handle_results _handle_tasks"
    " _handle_workers _help_stuff_finish _join_exited_workers _maintain_pool _map_async _repopulate_pool_static"
    " _setup_queues _terminate_pool _wait_for_updates _wrap_exception",
    "ApplyResult": "_set",
    "AsyncResult": "_set",
    "MapResult": "_set",
    "IMapIterator": "_set _set_length",
    "IMapUnorderedIterator": "_set _set_length",
    "Queue": "_after_fork _feed _finalize_close _finalize_join _reset _start_thread",
    "JoinableQueue": "_after_fork _feed _finalize_close _finalize_join _reset _start_thread",
    "Barrier": "_break _count _enter _exit _release _state _wait",
    "Condition": "_make_methods",
    "SemLock": "_cleanup _make_methods _make_name _rand __enter__ __exit__",
}
for _lock in ("Lock", "RLock", "Semaphore", "BoundedSemaphore"):
    INSIDES[_lock] = "_cleanup _make_methods _make_name _rand"
CHANGED = {"track"}  # of SharedMemory: D38
# Made by their modules only, never by a user.
NOT_CALLED = {"ApplyResult", "AsyncResult", "MapResult", "IMapIterator", "IMapUnorderedIterator", "SemLock"}
PROTOCOL = ("__call__", "__class_getitem__", "__del__", "__enter__", "__exit__", "__iter__", "__next__", "__reduce__")


def pairs() -> Iterator[tuple[str, object, object]]:
    """Every name of the modules that are cmp's own, as the stdlib has it and as cmp has it."""
    for module in ("", *("." + name for name in OWN)):
        theirs, ours = (importlib.import_module(package + module) for package in ("multiprocessing", "cmp"))
        for name, value in vars(theirs).items():
            if not name.startswith("__") and (module or not inspect.ismodule(value)):
                yield f"cmp{module}.{name}", value, getattr(ours, name, None)


PAIRS = {name: (theirs, ours) for name, theirs, ours in pairs()}
CLASSES = {name: pair for name, pair in PAIRS.items() if inspect.isclass(pair[0]) and pair[0] is not pair[1]}
FUNCTIONS = {name: pair for name, pair in PAIRS.items() if inspect.isroutine(pair[0]) and pair[0] is not pair[1]}


def check_signature(theirs: object, ours: object) -> None:
    """Whatever may be called as theirs may be called as ours, to the same effect of each argument."""
    wanted = list(inspect.signature(theirs).parameters.values())
    have = list(inspect.signature(ours).parameters.values())
    if [p.kind for p in wanted] == [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]:
        return  # theirs hands on whatever it is given
    for at, parameter in enumerate(wanted):
        mine = have[at] if parameter.kind is parameter.POSITIONAL_OR_KEYWORD else None
        mine = mine or next(p for p in have if p.name == parameter.name)
        assert mine.name == parameter.name
        assert parameter.default in (parameter.empty, mine.default) or parameter.name in CHANGED
        assert mine.kind is parameter.kind or parameter.name == "self"
    for parameter in have:
        known = parameter.name in {p.name for p in wanted}
        optional = parameter.default is not parameter.empty or parameter.kind in (2, 4)
        assert known or optional, parameter


def test_every_name_of_every_module_is_there():
    assert [name for name, (theirs, ours) in PAIRS.items() if ours is None and theirs is not None] == []
    assert {"cmp.pool.TimeoutError", "cmp.queues._sentinel", "cmp.context.reduction", "cmp.Process"} <= set(PAIRS)


def test_every_submodule_is_there():
    for found in pkgutil.walk_packages(multiprocessing.__path__):
        if not found.name.endswith("win32"):
            ours = importlib.import_module("cmp." + found.name)
            assert (ours is importlib.import_module("multiprocessing." + found.name)) == (found.name not in OWN)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_take_the_same_arguments(name):
    check_signature(*FUNCTIONS[name])


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_classes_take_the_same_arguments_and_say_where_they_are(name):
    theirs, ours = CLASSES[name]
    assert ours.__qualname__ == theirs.__qualname__
    assert ours.__module__.partition(".")[0] == "cmp"
    assert getattr(importlib.import_module(ours.__module__), ours.__name__) is ours  # so pickle finds it
    assert ours.__doc__ or not theirs.__doc__
    if theirs.__name__ not in NOT_CALLED:
        check_signature(theirs, ours)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_classes_have_the_same_members(name):
    theirs, ours = CLASSES[name]
    insides = INSIDES.get(theirs.__name__, "").split()
    wanted = [n for n in dir(theirs) if n not in insides and (not n.startswith("__") or n in PROTOCOL)]
    assert [n for n in wanted if not hasattr(ours, n)] == []
    assert [n for n in insides if hasattr(ours, n)] == [], "no longer missing: take it off the list"
    for member in wanted:
        mine, its = getattr(ours, member), getattr(theirs, member)
        if not inspect.isroutine(its) or not callable(its) or mine is its or member.startswith("__"):
            continue
        check_signature(its, mine)
        if not member.startswith("_"):
            assert mine.__name__ == its.__name__
            assert mine.__doc__ or not its.__doc__, member


# ---- what factories give ----

FACTORIES = {
    "Lock": (), "RLock": (), "Condition": (), "Event": (), "Semaphore": (2,), "BoundedSemaphore": (2,),
    "Barrier": (2,), "Queue": (3,), "JoinableQueue": (3,), "SimpleQueue": (), "Process": (), "Pool": (1,),
}  # fmt: skip


def made(mp, method: str, name: str) -> object:
    return getattr(mp.get_context(method), name)(*FACTORIES[name])


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("name", FACTORIES)
def test_objects_have_the_same_public_attributes(name, method):
    theirs, ours = (made(mp, method, name) for mp in (multiprocessing, cmp))
    public = [n for n in dir(theirs) if not n.startswith("_")]
    assert set(public) <= set(dir(ours))
    for member in public:
        if inspect.isroutine(inspect.getattr_static(theirs, member)):
            check_signature(getattr(theirs, member), getattr(ours, member))
    assert type(ours).__name__ == type(theirs).__name__
    for obj in (theirs, ours):
        if name == "Pool":
            obj.terminate()
            obj.join()
        elif name.endswith("Queue"):
            obj.close()


@pytest.fixture(scope="module")
def managers():
    with multiprocessing.get_context("fork").Manager() as theirs, cmp.get_context("fork").Manager() as ours:
        yield theirs, ours


REGISTERED = [
    name for name in multiprocessing.managers.SyncManager._registry if hasattr(cmp.managers.SyncManager, name)
]
ARGUMENTS = {"Semaphore": (2,), "BoundedSemaphore": (2,), "Barrier": (2,), "Value": ("i", 1), "Array": ("i", [1])}
ARGUMENTS |= {"Pool": (1,)}


def test_managers_serve_the_same_types():
    theirs, ours = (module.SyncManager._registry for module in (multiprocessing.managers, cmp.managers))
    assert set(theirs) == set(ours)


@pytest.mark.parametrize("name", sorted(REGISTERED))
def test_proxies_have_the_same_public_methods(name, managers):
    theirs, ours = (getattr(manager, name)(*ARGUMENTS.get(name, ())) for manager in managers)
    assert [n for n in dir(theirs) if not n.startswith("_") and not hasattr(ours, n)] == []
    assert set(theirs._exposed_) <= set(ours._exposed_)
    assert repr(theirs).partition(" at ")[0] == repr(ours).partition(" at ")[0]
