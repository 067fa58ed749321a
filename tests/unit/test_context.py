"""The package and its contexts: names, start methods, and how cmp and the stdlib agree about them."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import subprocess
import sys

import multiprocessing
import pytest
from support.places import child_environment

import cmp

OWN = {"context", "queues", "synchronize", "pool", "managers", "shared_memory"}
SUBMODULES = [m.name for m in pkgutil.walk_packages(multiprocessing.__path__) if not m.name.endswith("win32")]


def python(code: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=150, env=child_environment()
    )
    assert done.stderr == ""
    return done.stdout


# ---- names ----


def test_all_is_the_stdlibs():
    assert cmp.__all__ == multiprocessing.__all__
    assert all(hasattr(cmp, name) for name in cmp.__all__)


@pytest.mark.parametrize("name", SUBMODULES)
def test_every_submodule_has_its_namesake(name):
    ours, theirs = (importlib.import_module(f"{package}.{name}") for package in ("cmp", "multiprocessing"))
    assert (ours is theirs) == (name not in OWN)
    assert getattr(cmp, name) is ours


@pytest.mark.parametrize("name", SUBMODULES)
def test_every_public_name_of_a_submodule_is_there(name):
    ours, theirs = (importlib.import_module(f"{package}.{name}") for package in ("cmp", "multiprocessing"))
    public = getattr(theirs, "__all__", None) or [n for n, o in vars(theirs).items() if inspect.isclass(o)]
    assert [n for n in public if not hasattr(ours, n)] == []


def test_exceptions_are_the_stdlibs():
    for name in ("TimeoutError", "ProcessError", "BufferTooShort", "AuthenticationError"):
        assert getattr(cmp, name) is getattr(multiprocessing, name) is getattr(cmp.context, name)


def test_signatures_are_the_stdlibs_or_more():
    for name in cmp.__all__:
        theirs = getattr(multiprocessing, name)
        if not callable(theirs) or inspect.isclass(theirs):
            continue
        wanted = inspect.signature(theirs).parameters.values()
        have = inspect.signature(getattr(cmp, name)).parameters
        for parameter in wanted:
            assert have[parameter.name].kind == parameter.kind, name
            assert have[parameter.name].default == parameter.default, name


@pytest.mark.parametrize("method", ["start", "run", "join", "is_alive", "terminate", "kill", "close"])
def test_methods_of_process_have_the_stdlibs_signatures(method):
    wanted = inspect.signature(getattr(multiprocessing.Process(), method))
    assert inspect.signature(getattr(cmp.Process(), method)) == wanted


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'cmp' has no attribute 'nothing'"):
        cmp.nothing  # noqa: B018
    assert {"Process", "queues", "connection"} <= set(dir(cmp))


def test_submodules_come_at_first_use_and_importing_starts_nothing():
    out = python(
        "import sys, threading, os, cmp\n"
        "late = ('pool', 'managers', 'sharedctypes', 'shared_memory')\n"
        "print([n for n in late if 'multiprocessing.' + n in sys.modules])\n"
        "print(threading.active_count(), cmp.active_children())\n"
        "print(cmp.connection.Pipe.__module__)\n"
    )
    assert out == "[]\n1 []\nmultiprocessing.connection\n"


def test_import_loads_what_the_stdlib_s_import_does_and_cmp():
    """What queues, processes and pools need besides takes as long to load; it comes with the first of them."""
    theirs, ours = (
        set(python(f"import sys, {name}; print(*sys.modules)", "-S", "-s").split())
        for name in ("multiprocessing", "cmp")
    )
    assert {name.partition(".")[0] for name in ours - theirs} <= {"cmp", "atexit", "__future__"}


SHELLS = """
import importlib, multiprocessing as theirs, sys, cmp
sys.modules["multiprocessing"] = cmp
process = cmp.Process(target=print, args=("child",)); process.start(); process.join()
queue = cmp.Queue(); queue.put(1); print(queue.get())
for name in cmp._SUBMODULES.difference(OWN):
    assert importlib.import_module("cmp." + name) is getattr(theirs, name), name
    assert importlib.import_module("multiprocessing." + name) is getattr(theirs, name), name
from multiprocessing.dummy.connection import Pipe
print(theirs.util.__file__ == theirs.__path__[0] + "/util.py")
"""


def test_borrowed_modules_are_the_stdlib_s_under_somebody_else_s_alias():
    assert python(SHELLS.replace("OWN", repr(OWN))) == "child\n1\nTrue\n"


def test_a_class_that_leans_on_a_queue_s_insides_can_be_made_under_somebody_else_s_alias():
    out = python(
        "import sys, cmp\n"
        "modules = {'multiprocessing.' + name: getattr(cmp, name) for name in cmp._SUBMODULES}\n"
        "sys.modules.update(modules, multiprocessing=cmp)\n"
        "from multiprocessing.queues import Queue\n"
        "class Fed(Queue):\n"
        "    def _feed(self, *args):\n"
        "        return Queue._feed(self, *args)\n"
        "fed = Fed(ctx=cmp.get_context('fork')); fed.put(1); print(fed.get())\n"
        "fed.close(); fed.join_thread()\n"
        "class Plain(Queue):\n"
        "    pass\n"
        "print([c.__module__ for c in Plain.__mro__], Fed.__mro__[2].__module__)\n"
    )
    assert out == "1\n['__main__', 'cmp.queues', 'builtins'] multiprocessing.queues\n"


def test_without_the_c_part_the_import_error_gives_advice(tmp_path):
    import pathlib
    import shutil

    shutil.copytree(pathlib.Path(cmp.__file__).parent, tmp_path / "cmp", ignore=shutil.ignore_patterns("*.so"))
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\ntry: import cmp\nexcept ImportError as e: print(e)"
    assert "pip install ." in python(code)


# ---- contexts ----


def test_contexts_are_single_and_subclasses_of_the_stdlibs():
    for method in ("fork", "spawn", "forkserver"):
        context = cmp.get_context(method)
        assert (
            context is cmp.get_context(method) is context.get_context() is cmp.get_context("fork").get_context(method)
        )
        assert isinstance(context, multiprocessing.context.BaseContext)
        assert context.get_start_method() == context._name == method
        theirs = multiprocessing.get_context(method)
        assert type(context).__name__ == type(theirs).__name__
        assert context.Process.__name__ == theirs.Process.__name__
        assert issubclass(context.Process, multiprocessing.process.BaseProcess)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="^cannot find context for 'thread'$"):
        cmp.get_context("thread")


def test_a_concrete_context_keeps_its_method():
    with pytest.raises(ValueError, match="^cannot set start method of concrete context$"):
        cmp.get_context("spawn").set_start_method("fork")


def test_the_default_is_fork():
    assert python("import cmp; print(cmp.get_all_start_methods(), cmp.get_start_method())") == (
        "['fork', 'spawn', 'forkserver'] fork\n"
    )
    assert python("import cmp; print(cmp.get_start_method(allow_none=True), cmp.get_context()._name)") == "None fork\n"


def test_the_method_is_set_once_or_by_force():
    out = python(
        "import cmp\n"
        "cmp.set_start_method('spawn'); print(cmp.get_start_method(), cmp.get_context()._name)\n"
        "try: cmp.set_start_method('fork')\n"
        "except RuntimeError as e: print(e)\n"
        "cmp.set_start_method('forkserver', force=True); print(cmp.get_start_method())\n"
        "cmp.set_start_method(None, force=True); print(cmp.get_start_method(allow_none=True))\n"
        "try: cmp.set_start_method('thread')\n"
        "except ValueError as e: print(e, cmp.get_start_method(allow_none=True))\n"
    )
    assert out.splitlines() == [
        "spawn spawn", "context has already been set", "forkserver", "None",
        "cannot find context for 'thread' None",
    ]  # fmt: skip


def test_a_method_set_here_is_set_there_and_the_other_way_round():
    assert (
        python("import cmp, multiprocessing as s; cmp.set_start_method('spawn'); print(s.get_start_method())")
        == "spawn\n"
    )
    assert (
        python("import cmp, multiprocessing as s; s.set_start_method('spawn'); print(cmp.get_start_method())")
        == "spawn\n"
    )
    out = python(
        "import cmp, multiprocessing as s\n"
        "s.set_start_method('spawn')\n"
        "try: cmp.set_start_method('forkserver')\n"
        "except RuntimeError as e: print(e)\n"
    )
    assert out == "context has already been set\n"


def test_a_default_is_nobody_elses():
    out = python("import cmp, multiprocessing as s; a = s.get_start_method(); cmp.set_start_method('spawn'); print(1)")
    assert out == "1\n"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_starting_a_process_fixes_no_method(method, tmp_path):
    (tmp_path / "main.py").write_text(
        "import cmp, sys\n"
        "if __name__ == '__main__':\n"
        f"    p = cmp.get_context('{method}').Process(target=print); p.start(); p.join()\n"
        "    print(cmp.get_start_method(allow_none=True)); cmp.set_start_method('spawn')\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "main.py"], capture_output=True, text=True, timeout=150,
                          env=child_environment())  # fmt: skip
    assert (done.stdout, done.stderr) == ("\nNone\n", "")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="until 3.14 the stdlib's default was no question")
def test_asking_for_the_method_does_not_have_the_stdlib_look_for_its_own_default():
    out = python(
        "import cmp; from multiprocessing import context\n"
        "print(cmp.get_start_method(), cmp.get_start_method(allow_none=True))\n"
        "print('_default_context' in vars(context._default_context))\n"
    )
    assert out == "fork fork\nFalse\n"


CHILD = """
import cmp, multiprocessing
def child():
    print(cmp.get_start_method(), cmp.get_start_method(allow_none=True), cmp.current_process().name, flush=True)
if __name__ == "__main__":
    {start}
    p.start(); p.join(); print(p.exitcode)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_start_their_own_as_they_were_started(method, tmp_path):
    for start in (f"cmp.set_start_method('{method}'); p = cmp.Process(target=child)",
                  f"p = cmp.get_context('{method}').Process(target=child)"):  # fmt: skip
        (tmp_path / "main.py").write_text(CHILD.format(start=start))
        done = subprocess.run(
            [sys.executable, tmp_path / "main.py"], capture_output=True, text=True, timeout=150, env=child_environment()
        )
        assert done.stderr == ""
        first, last = done.stdout.splitlines()
        assert first.split()[:2] == [method, method]
        assert last == "0"


def test_a_process_pickles_only_while_spawning():
    with pytest.raises(TypeError, match="Pickling an AuthenticationString object is disallowed"):
        pickle.dumps(cmp.Process())


def test_stdlib_and_cmp_share_one_set_of_books():
    out = python(
        "import cmp, multiprocessing as s, time; s.set_start_method('fork')\n"  # 3.14 has another default
        "p, q = cmp.Process(target=time.sleep, args=(60,)), s.Process(target=time.sleep, args=(60,))\n"
        "p.start(); q.start()\n"
        "names = [sorted(x.name for x in m.active_children()) for m in (s, cmp)]\n"
        "print(names == [['Process-1', 'Process-2']] * 2)\n"
        "print(s.current_process() is cmp.current_process(), isinstance(p, s.process.BaseProcess))\n"
        "for x in (p, q): x.terminate(); x.join()\n"
        "def child():\n"
        "    r = s.Process(target=lambda: print(cmp.current_process().name, s.parent_process().name, flush=True))\n"
        "    r.start(); r.join()\n"
        "p = cmp.Process(target=child); p.start(); p.join()\n"
    )
    assert out == "True\nTrue True\nProcess-3:1 Process-3\n"
