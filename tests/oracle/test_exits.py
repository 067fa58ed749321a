"""How a child ends, on both implementations: its exit code, its traceback, its last duties."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest
from support.children import outcome, started

# ---- exit codes ----


@pytest.mark.parametrize(
    "code, seen",
    [(None, 0), (0, 0), (7, 7), (True, 1), (False, 0), (256, 0), (-1, 255), (257, 1), ("words", 1), ([1], 1)],
)
def test_exit_code_of_system_exit(mp, capfd, code, seen):
    assert outcome(mp, sys.exit, code) == seen
    assert capfd.readouterr().err == ("" if code is None or isinstance(code, int) else f"{code}\n")


def test_exit_code_of_a_return_is_0_and_of_an_exception_1(mp, capfd):
    assert outcome(mp, int) == 0
    assert outcome(mp, int, "x") == 1
    assert "ValueError" in capfd.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, BaseException])
def test_base_exceptions_are_reported_and_end_with_1(mp, capfd, error):
    def fail():
        raise error("so")

    assert outcome(mp, fail) == 1
    assert error.__name__ in capfd.readouterr().err


def test_exit_code_of_a_signal_is_negative(mp, blocked):
    os.kill(blocked.pid, signal.SIGUSR1)
    blocked.join()
    assert blocked.exitcode == -signal.SIGUSR1
    assert "exitcode=-SIGUSR1" in repr(blocked)


def test_the_child_may_end_by_os_exit(mp):
    assert outcome(mp, os._exit, 9) == 9


def test_exit_code_is_none_while_it_lives(mp, blocked):
    assert blocked.exitcode is None
    assert blocked.is_alive()


# ---- the traceback ----


def test_traceback_has_a_head_and_the_users_frames(mp, capfd):
    def wrong():
        return 1 // 0

    process = started(mp, wrong, name="Worker")
    process.join()
    lines = capfd.readouterr().err.splitlines()
    assert lines[:2] == ["Process Worker:", "Traceback (most recent call last):"]
    assert "return 1 // 0" in "\n".join(lines)
    assert lines[-1].startswith("ZeroDivisionError")


def test_traceback_goes_through_sys_stderr(mp, tmp_path):
    def wrong():
        sys.stderr = open(tmp_path / "said", "w")
        raise LookupError("here")

    assert outcome(mp, wrong) == 1
    assert "LookupError: here" in (tmp_path / "said").read_text()


def test_without_stderr_a_failure_still_ends_with_1(mp):
    def wrong():
        sys.stderr = None
        raise LookupError

    assert outcome(mp, wrong) == 1


# ---- the end of a child ----


def test_threads_of_a_child_are_joined_before_it_ends(mp, capfd):
    def child():
        def late():
            threading.main_thread().join(0.1)
            print("late")

        threading.Thread(target=late).start()

    assert outcome(mp, child) == 0
    assert capfd.readouterr().out == "late\n"


def test_finalizers_run_by_priority_and_even_after_a_failure(mp, capfd):
    def child():
        from multiprocessing import util

        for priority in (5, 0, -5, 10):
            util.Finalize(None, print, args=(priority,), exitpriority=priority)
        raise SystemExit(3)

    assert outcome(mp, child) == 3
    assert capfd.readouterr().out.split() == ["10", "5", "0", "-5"]


def test_atexit_callbacks_of_a_child_follow_the_version(mp, capfd):
    def child():
        import atexit

        atexit.register(print, "own")

    assert outcome(mp, child) == 0
    assert capfd.readouterr().out == ("own\n" if sys.version_info >= (3, 13) else "")


def test_finalizers_of_the_parent_do_not_run_in_a_child(mp, capfd):
    from multiprocessing import util

    finalizer = util.Finalize(None, print, args=("parent's",), exitpriority=1)
    try:
        assert outcome(mp, int) == 0
    finally:
        finalizer.cancel()
    assert capfd.readouterr().out == ""


def test_grandchildren_are_joined_and_daemons_ended(mp):
    def child():
        mp.Process(target=time.sleep, args=(0.2,)).start()
        mp.Process(target=signal.pause, daemon=True).start()

    begin = time.monotonic()
    assert outcome(mp, child) == 0
    assert time.monotonic() - begin > 0.2
