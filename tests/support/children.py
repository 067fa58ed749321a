"""Children of the tests: how they are started, and what comes of them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.process import BaseProcess


def started(mp, target: Callable, *args: object, **more: object) -> BaseProcess:
    process = mp.Process(target=target, args=args, **more)
    process.start()
    return process


def outcome(mp, target: Callable, *args: object) -> int:
    """The exit code of a process that ran the target."""
    process = started(mp, target, *args)
    process.join()
    code = process.exitcode
    process.close()
    return code


def in_child(mp, function: Callable, *args: object):
    """What the function returns in a forked child."""
    reader, writer = connection.Pipe(duplex=False)
    with reader, writer:
        process = started(mp, lambda: writer.send(function(*args)))
        writer.close()  # so that a child that dies without a word is an EOFError
        value = reader.recv()
        process.join()
        assert process.exitcode == 0
        return value


@contextmanager
def blocked_child(mp) -> Iterator[BaseProcess]:
    """A living child that waits for ever, ended by the test or else here."""
    process = started(mp, signal.pause)
    yield process
    if not process._closed and process.is_alive():
        process.kill()
        process.join()
