"""The stdlib's launchers of spawn and forkserver, as cmp's processes use them.

What they do differently: a descriptor that several objects share travels once; what has arrived is not handed on to
programs which the child starts; and cmp arrives in the child first of all, with the start method and the alias.
"""

from __future__ import annotations

import contextlib
import io
import operator
import os
import runpy
import select
import signal
import time
from multiprocessing import (
    connection,
    forkserver,
    popen_forkserver,
    popen_spawn_posix,
    reduction,
    resource_tracker,
    spawn,
    util,
)
from multiprocessing.context import set_spawning_popen

from . import _core, alias, arrival, context, heirs, readiness

__all__ = ["ForkServerPopen", "SpawnPopen"]


def _facts(**more: object) -> dict[str, object]:
    """What arrival.py has to know."""
    return {
        "arriving_from": os.path.dirname(os.path.dirname(os.path.abspath(arrival.__file__))),
        "with_alias": alias.is_installed(),
        "start_method": context._default_context.get_start_method(allow_none=True),
        **more,
    }


# The thread that was just starting a tracker or a server has not come along.
heirs.free_at_fork(resource_tracker._resource_tracker._lock)
heirs.free_at_fork(forkserver._forkserver._lock)


class _Arrival:
    """Unpickling it runs arrival.py, and gives that module's globals."""

    def __init__(self, facts: dict[str, object]) -> None:
        self.facts = facts

    def __reduce__(self):
        return runpy.run_path, (arrival.__file__, self.facts)


class _Name(str):
    """A process's name, which is the first thing a launcher sends. It arrives as a plain str, and cmp with it."""

    announced = False

    def __reduce__(self):
        if self.announced:
            return str, (str(self),)
        self.announced = True
        return operator.getitem, (_Arrival(_facts(process_name=str(self))), "process_name")


_adopted: set[int] = set()


def _adopt(fd: int) -> int:
    """A descriptor that has arrived; whoever asks for it again gets one of its own."""
    if fd in _adopted:
        return os.dup(fd)
    _adopted.add(fd)
    os.set_inheritable(fd, False)
    return fd


class _SpawnFd(popen_spawn_posix._DupFd):
    def detach(self) -> int:
        return _adopt(super().detach())


class _ForkServerFd(popen_forkserver._DupFd):
    def detach(self) -> int:
        return _adopt(super().detach())


class _Launcher:
    """Mixed into both of the stdlib's Popen classes."""

    def __init__(self, process_obj) -> None:
        self._tokens: dict[int, int] = {}
        name = process_obj._name
        process_obj._name = _Name(name)
        try:
            super().__init__(process_obj)
        finally:
            process_obj._name = name

    def duplicate_for_child(self, fd: int) -> int:
        if fd not in self._tokens:
            self._tokens[fd] = super().duplicate_for_child(fd)
        return self._tokens[fd]


class _StdlibSpawnPopen(_Launcher, popen_spawn_posix.Popen):
    DupFd = _SpawnFd

    def _launch(self, process_obj) -> None:
        """What the stdlib does (before 3.14 it keeps the reading end open here, too, and writes for ever if the child
        dies early). A child that died is no error here: its exit code tells, however long its arguments were."""
        tracker = resource_tracker.getfd()
        message = _message(self, process_obj)
        with heirs.no_forks(), contextlib.ExitStack() as childs, contextlib.ExitStack() as ours:
            sentinel, childs_end = _pipe(ours, childs)
            reader, writer = _pipe(childs, ours)
            command = spawn.get_command_line(tracker_fd=tracker, pipe_handle=reader)
            self.pid = util.spawnv_passfds(spawn.get_executable(), command, [*self._fds, tracker, reader, childs_end])
            self.sentinel = sentinel
            # The child takes the end of `writer` for the end of this process.
            heirs.keep_from(writer)
            self.finalizer = util.Finalize(self, util.close_fds, (sentinel, writer))
            ours.pop_all()
        with contextlib.suppress(BrokenPipeError):
            self._send(writer, message)

    def _send(self, writer: int, message: memoryview) -> None:
        """Writes until the child has read it all or has ended. That the pipe breaks then is not enough: a process that
        was forked in between may have its reading end, too."""
        os.set_blocking(writer, False)
        ends = readiness.genuine("poll")()
        ends.register(writer, select.POLLOUT)
        with contextlib.suppress(OSError):  # no descriptor to be had for it
            ends.register(self.sentinel, select.POLLIN)
        while message and any(fd == writer for fd, _ in ends.poll()):
            message = message[os.write(writer, message) :]


def _message(popen, process_obj) -> memoryview:
    """What a child reads first of all: how to get ready, and the process that it is to be."""
    message = io.BytesIO()
    set_spawning_popen(popen)
    try:
        reduction.dump(spawn.get_preparation_data(process_obj._name), message)
        reduction.dump(process_obj, message)
    finally:
        set_spawning_popen(None)
    return message.getbuffer()


def _pipe(readers: contextlib.ExitStack, writers: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed with those they belong to."""
    reader, writer = os.pipe()
    readers.callback(os.close, reader)
    writers.callback(os.close, writer)
    return reader, writer


class SpawnPopen(_core.Popen, _StdlibSpawnPopen):
    """Started by the stdlib, watched as forked children are."""

    method = "spawn"
    __init__ = _StdlibSpawnPopen.__init__
    duplicate_for_child = _StdlibSpawnPopen.duplicate_for_child

    def close(self) -> None:
        _core.Popen.close(self)
        _StdlibSpawnPopen.close(self)


_UNKNOWN = 255  # the exit code of one whose end nobody tells of
_DYING_S = 1.0  # for one whose server has been killed to end, too, where there is no pid to ask after


class ForkServerPopen(_Launcher, popen_forkserver.Popen):
    """The server is the child's parent, and tells of its start and its end. Where the server is killed, a child that
    ends with it (os/lifeline.h) does so a moment later, and may do anything until then: it counts as ended once it has
    ended, and a start as failed once nothing runs that it has started."""

    method = "forkserver"
    DupFd = _ForkServerFd

    def _launch(self, process_obj) -> None:
        _set_up_server()
        self._ends_with_server = process_obj._config.get("daemon") or getattr(process_obj, "_lifeline", False)
        self._believed_until: float | None = None
        self.pid: int | None = None
        message = _message(self, process_obj)
        forkserver.ensure_running()
        with heirs.no_forks():  # an heir of the child's ends would hide that the server, or the child, is gone
            self.sentinel, self._to_child = forkserver.connect_to_new_process(self._fds)
            heirs.keep_from(self._to_child)
        # The child takes the end of `_to_child` for the end of this process.
        self.finalizer = util.Finalize(self, util.close_fds, (self.sentinel, self._to_child))
        with open(self._to_child, "wb", closefd=False) as to_child:
            to_child.write(message)
        try:
            self.pid = forkserver.read_signed(self.sentinel)
        except EOFError:
            self._has_died(None)
            raise

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """The exit code, or None while the child lives."""
        return self.wait(0 if flag == os.WNOHANG else None)

    def wait(self, timeout: float | None = None) -> int | None:
        """Waits for the end; the exit code, or None when the time is over."""
        if self.returncode is None:
            until = None if timeout is None else time.monotonic() + timeout
            if not connection.wait([self.sentinel], timeout):
                return None
            try:
                code = forkserver.read_signed(self.sentinel)
            except (OSError, EOFError):
                if not self._has_died(until):
                    return None
                code = _UNKNOWN
            if self.returncode is None:  # else another thread has read the code
                self.returncode = code
        return self.returncode

    def _has_died(self, until: float | None) -> bool:
        """Its server has ended. Has it, too, or does it in time? It has if nobody has its pid, or nobody its end of the
        pipe: the one may be a stranger's by now, the other its own forks'."""
        if not self._ends_with_server:
            return True
        ends = readiness.genuine("poll")()
        ends.register(self._to_child, 0)  # an error: nobody has the other end
        try:
            pidfd = os.pidfd_open(self.pid)
            ends.register(pidfd, select.POLLIN)
        except ProcessLookupError:
            return True
        except (OSError, AttributeError, TypeError):  # not to be had; or it was not told
            pidfd = None
            self._believed_until = self._believed_until or time.monotonic() + _DYING_S
            until = min(until or self._believed_until, self._believed_until)
        try:
            left = None if until is None else max(0.0, until - time.monotonic()) * 1000
            return bool(ends.poll(left)) or (pidfd is None and time.monotonic() >= self._believed_until)
        finally:
            if pidfd is not None:
                os.close(pidfd)

    def interrupt(self) -> None:
        """Sends SIGINT."""
        self._send_signal(signal.SIGINT)


class _Preload(list):
    """The names of the modules that a fork server loads once for all its children. They reach it in the code that it
    runs, as their repr: evaluating it has cmp arrive there, and with it the alias, before the first of them is loaded.
    From 3.14 on that is the user's main module."""

    def __repr__(self) -> str:
        facts = _facts(names=list(self))
        return f"__import__('runpy').run_path({os.path.abspath(arrival.__file__)!r}, {facts!r})['names']"


def _set_up_server() -> None:
    """Has a server that is about to start load cmp, too."""
    server = forkserver._forkserver
    if server._forkserver_pid is None:
        server._preload_modules = _Preload([*(n for n in server._preload_modules if n != __name__), __name__])
