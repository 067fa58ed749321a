"""Waiting for descriptors, also where others have changed what the select module has.

eventlet and gevent take epoll() out of it, eventlet poll() too, since a wait in there holds up everything that shares
the thread; and they put a select() of their own in the place of the module's. Such patches come before or after the
import of cmp, or with a fork: what is there is looked at each time.
"""

from __future__ import annotations

import functools
import select

TYPE_CHECKING = False  # as type checkers know it: loading typing takes its time
if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["genuine", "until_readable"]


def genuine(name: str):
    """A function of select as the interpreter has it. Where it waits, so does the whole thread of the system."""
    return getattr(select if _is_genuine(name) else _made_anew(), name)


def _is_genuine(name: str) -> bool:
    return getattr(getattr(select, name, None), "__module__", None) == "select"


@functools.cache
def _made_anew() -> ModuleType:
    """A second select, which nobody else knows."""
    import importlib.util

    module = importlib.util.module_from_spec(select.__spec__)
    module.__loader__.exec_module(module)
    return module


def until_readable(fd, timeout: float | None = None) -> None:
    """Waits no longer than for so many seconds. Others that share the thread go on."""
    if not _is_genuine("select"):  # which is limited to 1024 descriptors nowhere but in the interpreter's own
        select.select([fd], [], [], timeout)
        return
    ends = genuine("poll")()
    ends.register(fd, select.POLLIN)
    ends.poll(timeout if timeout is None else timeout * 1000)
