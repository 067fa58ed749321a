"""What the processes that this one forks are not to have of it, whatever other threads do then.

The end of a process is seen by a pipe whose other end nobody has any more: an heir that lives on would hide it. And a
lock that another thread held at the fork is nobody's in the child.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Iterator
from functools import partial

from . import _core

TYPE_CHECKING = False  # as type checkers know it: loading typing takes its time
if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from socket import socket

__all__ = ["free_at_fork", "identity", "keep_from", "no_forks"]

# By descriptor: what it stands for, and how its owner closes it, if it has one and while that lives.
_kept: dict[int, tuple[tuple[int, int], Callable[[], Callable[[], None] | None]]] = {}


def identity(fd: int) -> tuple[int, int] | None:
    """What a descriptor stands for: its number may be closed behind one's back, and stand for something else then."""
    try:
        facts = os.fstat(fd)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def keep_from(end: int | socket | Connection) -> None:
    """Has all processes that are forked from now on close it. In there its owner knows that, and cannot use a stranger
    that has got the number."""
    fd, close = (end, lambda: None) if isinstance(end, int) else (end.fileno(), weakref.WeakMethod(end.close))
    what = identity(fd)
    if what is not None:
        _kept[fd] = what, close


@contextlib.contextmanager
def no_forks() -> Iterator[None]:
    """No other thread forks meanwhile, by os.fork() or by a start of a process, unless this takes more than a second:
    nobody waits for ever for a peer that stands still."""
    try:  # first: what a signal handler raises may come before the turn taken has a name
        _core._take_turn()
        yield
    finally:
        _core._give_turn()


def free_at_fork(lock: object) -> None:
    """In a child it is free."""
    os.register_at_fork(after_in_child=lock._at_fork_reinit)


def _close_kept() -> None:
    for fd, (what, owners_way) in _kept.items():
        if identity(fd) == what:
            close = owners_way() or partial(os.close, fd)
            close()
    _kept.clear()


# In a child the turn is nobody's without this.
os.register_at_fork(before=_core._take_turn_to_fork, after_in_parent=_core._give_turn, after_in_child=_close_kept)
