"""What a process does that then hears nothing of its parent's death (os/lifeline.h): initializers for those who are
to end with it all the same."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest


def block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def reset_handlers() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):  # the C library's own
            signal.signal(number, signal.SIG_DFL)


def become_another_user() -> None:
    os.setgid(65534)
    os.setuid(65534)


_only_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may")
WAYS = [block_signals, reset_handlers, pytest.param(become_another_user, marks=_only_root)]
