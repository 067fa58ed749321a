"""Tools that put functions of their own in the place of the standard library's: coverage, debuggers, tracers."""

from __future__ import annotations

import multiprocessing.process
import os

import pytest


def note(pipe, what):
    os.write(pipe[1], what + b" ")


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def raise_exit():
    raise SystemExit(3)


def fail():
    raise ValueError("so")


@pytest.mark.parametrize(("target", "code"), [(abs, 1), (raise_exit, 3), (fail, 1), (os.getpid, 0)])
def test_bootstrap_of_others_runs_in_forked_children(mp, target, code, pipe, monkeypatch, capfd):
    original = multiprocessing.process.BaseProcess._bootstrap

    def bootstrap(self, *args, **keywords):
        note(pipe, b"before")
        try:
            return original(self, *args, **keywords)
        finally:
            note(pipe, b"after")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "_bootstrap", bootstrap)
    process = mp.get_context("fork").Process(target=target, name="Kid")
    process.start()
    process.join()
    assert (process.exitcode, os.read(pipe[0], 100)) == (code, b"before after ")
    said = capfd.readouterr().err
    assert ("Process Kid:" in said) == (target in (abs, fail))


def test_bootstrap_of_others_leaves_the_parents_sentinel(mp, pipe, monkeypatch):
    original = multiprocessing.process.BaseProcess._bootstrap
    patched = lambda self, *args, **keywords: original(self, *args, **keywords)  # noqa: E731
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "_bootstrap", patched)

    def child():
        parent = multiprocessing.parent_process()
        note(pipe, str(parent.pid).encode() + b" " + str(parent.is_alive()).encode())

    process = mp.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert os.read(pipe[0], 100).split() == [str(os.getpid()).encode(), b"True"]


def test_fork_of_others_starts_the_children(mp, pipe, monkeypatch):
    original = os.fork

    def fork():
        note(pipe, b"forking")
        return original()

    monkeypatch.setattr(os, "fork", fork)
    process = mp.get_context("fork").Process(target=note, args=(pipe, b"child"))
    process.start()
    process.join()
    assert os.read(pipe[0], 100) == b"forking child "
