"""What the processes that this one forks are not to have of it, whatever other threads do then.

The end of a process is seen by a pipe whose other end nobody has any more: an heir that lives on would hide it. And a
lock that another thread held at the fork is nobody's in the child.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from . import _core

__all__ = ["free_at_fork", "identity", "keep_from", "no_forks"]

_kept: dict[int, tuple[int, int]] = {}  # what each descriptor stands for


def identity(fd: int) -> tuple[int, int] | None:
    """What a descriptor stands for: its number may be closed behind one's back, and stand for something else then."""
    try:
        facts = os.fstat(fd)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def keep_from(fd: int) -> None:
    """Has all processes that are forked from now on close it."""
    what = identity(fd)
    if what is not None:
        _kept[fd] = what


@contextlib.contextmanager
def no_forks() -> Iterator[None]:
    """No other thread starts a process by fork meanwhile, unless this takes more than a second: nobody waits for ever
    for a peer that stands still. An os.fork() of the program's own is not held off."""
    try:  # first: what a signal handler raises may come before the turn taken has a name
        _core._take_turn()
        yield
    finally:
        _core._give_turn()


def free_at_fork(lock: object) -> None:
    """In a child it is free."""
    os.register_at_fork(after_in_child=lock._at_fork_reinit)


def _close_kept() -> None:
    for fd, what in _kept.items():
        if identity(fd) == what:
            os.close(fd)
    _kept.clear()


os.register_at_fork(after_in_child=_close_kept)
