"""What becomes of a call: in another thread, by the clock, in an error, under Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from support.waiting import LONG_S, SHORT_S


def in_thread(function: Callable, *args: object):
    """What function(*args) gives in a thread named T."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)), name="T")
    thread.start()
    thread.join(LONG_S)
    return results[0]


def elapsed(function: Callable, *args: object, **kwargs: object):
    """What it gives, and the seconds it took."""
    begun = time.monotonic()
    result = function(*args, **kwargs)
    return result, time.monotonic() - begun


def error_of(function: Callable, *args: object) -> str:
    try:
        function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def interrupted(function: Callable, *args: object) -> float:
    """Seconds from SIGINT to the KeyboardInterrupt out of a call that blocks."""
    sent = []

    def interrupt() -> None:
        time.sleep(SHORT_S)  # long enough for the call to be asleep, and right also if it is not
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            function(*args)
        return time.monotonic() - sent[0]
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
