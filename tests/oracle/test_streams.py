"""The standard streams of a child and its parent, on both implementations."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from support.children import in_child, outcome


def test_what_the_parent_has_buffered_is_printed_once():
    for name in ("multiprocessing", "cmp"):
        code = f"import {name} as mp; print('once'); p = mp.Process(target=int); p.start(); p.join()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("once\n", "")


def test_a_forked_child_shares_its_parents_resource_tracker(mp):
    code = (
        "import os, %s as mp\n"
        "from multiprocessing import resource_tracker, shared_memory\n"
        "def child():\n"
        "    shared_memory.SharedMemory('cmp-test-%%d' %% os.getppid(), create=True, size=1).close()\n"
        "resource_tracker.ensure_running()\n"
        "p = mp.get_context('fork').Process(target=child); p.start(); p.join()\n"
        "shared_memory.SharedMemory('cmp-test-%%d' %% os.getpid()).unlink()\n" % mp.__name__
    )
    # A tracker of the child's own would say that the memory leaked, when the child ends, and remove it.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_the_child_prints_comes_out(mp, capfd):
    assert outcome(mp, print, "hello") == 0
    assert capfd.readouterr().out == "hello\n"


def test_stdin_of_a_child_is_empty(mp):
    code = (
        "import sys, %s as mp\n"
        "def child():\n"
        "    print([sys.stdin.read(), sys.stdin.closed, sys.__stdin__.closed], flush=True)\n"
        "sys.stdin.readline()\n"
        "p = mp.get_context('fork').Process(target=child); p.start(); p.join()\n"
        "print(repr(sys.stdin.readline()))\n" % mp.__name__
    )
    done = subprocess.run([sys.executable, "-c", code], input="1\n2\n3\n", capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("['', False, True]\n'2\\n'\n", "")


def test_a_grandchild_has_a_stdin_of_its_own(mp):
    def child():
        return in_child(mp, lambda: (sys.stdin.read(), sys.stdin.tell(), sys.stdin.seekable()))

    assert in_child(mp, child) == ("", 0, True)


@pytest.mark.parametrize("value", [None, io.StringIO("x")])
def test_a_parent_may_have_replaced_its_stdin(mp, monkeypatch, value):
    monkeypatch.setattr(sys, "stdin", value)
    assert in_child(mp, lambda: sys.stdin is None or sys.stdin.read()) == (value is None or "")


class Hostile:
    def __init__(self, error):
        self.error = error

    def write(self, text):
        return len(text)

    def flush(self):
        raise self.error


@pytest.mark.parametrize("error, code", [(ValueError, 0), (AttributeError, 0), (OSError, 1)])
def test_failing_flush_at_exit(mp, error, code):
    def child():
        sys.stdout = Hostile(error)

    assert outcome(mp, child) == code


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_parent_may_have_no_output(mp, monkeypatch, name):
    monkeypatch.setattr(sys, name, None)
    assert outcome(mp, int) == 0
