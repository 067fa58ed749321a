"""No more processes or threads to be had (RLIMIT_NPROC, from which root is exempt: the scenes run as another user)."""

from __future__ import annotations

import os
import resource
import time

import pytest
from support import alone, works

import cmp
from cmp.pool import WorkerLostError

NOBODY = 54321  # a user without any process
USED = ("process", "pool", "imap", "manager")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without processes")


def as_a_user_with(processes: int) -> None:
    for name in USED:  # what is loaded with the first of each kind is loaded now, while it can be read
        works.WORKS[name]()
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    allow(processes)


def allow(processes: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, hard))


def refuses(call, *args) -> None:
    try:
        call(*args)
    except BlockingIOError:
        return
    except RuntimeError as error:
        assert "can't start new thread" in str(error)
        return
    raise AssertionError("there was a process to be had")


def nothing_can_start() -> None:
    as_a_user_with(1)
    with alone.NothingLeft():
        process = cmp.Process(target=works.nothing)
        refuses(process.start)
        refuses(cmp.Pool, 2)
        refuses(cmp.Manager)
        allow(100)
        process.start()
        process.join()
        assert process.exitcode == 0
        del process
        works.pool()


def some_can_start() -> None:
    """Each work with ever more processes and threads allowed, until it can be done."""
    as_a_user_with(100)
    for name in USED:
        work = works.WORKS[name]
        for allowed in range(1, 12):
            with alone.NothingLeft():
                allow(allowed)
                try:
                    work()
                except (BlockingIOError, RuntimeError, EOFError, ConnectionError, FileNotFoundError):
                    pass
                finally:
                    allow(100)
        work()


def suicide() -> None:
    os._exit(3)


def workers_cannot_be_replaced() -> None:
    as_a_user_with(100)
    with cmp.Pool(2) as pool:
        allow(1)
        for _ in range(2):
            try:
                pool.apply(suicide)
            except WorkerLostError as error:
                assert error.exitcode == 3
            else:
                raise AssertionError("it was not lost")
        waiting = pool.apply_async(abs, (-5,))
        time.sleep(0.1)  # some starts are refused meanwhile; whether few or many does not matter
        allow(100)
        assert waiting.get(100) == 5
        assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))


@needs_root
def test_what_cannot_start_says_so_and_leaves_nothing():
    alone.run(nothing_can_start)


@needs_root
def test_works_that_get_only_some_of_their_processes_end():
    alone.run(some_can_start)


@needs_root
def test_pool_whose_workers_cannot_be_replaced_goes_on_once_they_can():
    alone.run(workers_cannot_be_replaced)
