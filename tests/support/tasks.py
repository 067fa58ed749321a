"""What tests give the workers of a pool to do."""

from __future__ import annotations

import os
import time
from typing import NoReturn

from support.waiting import sleeps


def double(x):
    return 2 * x


def pid_of(_: object = None) -> int:
    return os.getpid()


def sleep_for(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def begun(pool) -> bool:
    """Some worker has begun: its process sleeps in the task."""
    return any(sleeps(worker.pid) for worker in pool._pool)


def exit_now(code: int) -> NoReturn:
    os._exit(code)


def raise_error(error: BaseException) -> NoReturn:
    raise error
