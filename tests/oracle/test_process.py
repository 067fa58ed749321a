"""Process: started, joined, ended and closed as its documentation has it, on both implementations."""

from __future__ import annotations

import collections
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import connection

import pytest
from support.calls import error_of
from support.children import in_child, outcome, started

import cmp


def test_run_takes_whatever_a_subclass_made_of_its_arguments(mp):
    class Prepared(mp.Process):
        def __init__(self, **more):
            super().__init__(**more)
            self._args, self._kwargs = [1, 2], collections.UserDict(key=3)

    came = []
    Prepared(target=lambda *args, **kwargs: came.append((args, kwargs))).run()
    assert came == [((1, 2), {"key": 3})]


def test_join_with_a_timeout_returns_in_time(mp, blocked):
    begin = time.monotonic()
    assert blocked.join(0.1) is None
    assert 0.09 < time.monotonic() - begin
    assert blocked.is_alive()


@pytest.mark.parametrize("timeout", [0, -1, 0.0])
def test_join_without_time_only_looks(mp, blocked, timeout):
    blocked.join(timeout)
    assert blocked.is_alive()


def test_join_from_several_threads_at_once(mp):
    for _ in range(20):
        process = started(mp, int)
        threads = [threading.Thread(target=process.join) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert process.exitcode == 0
        process.close()


def test_join_wakes_up_for_signals(mp, blocked):
    seen = []
    old = signal.signal(signal.SIGALRM, lambda *a: (seen.append(1), blocked.kill()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        blocked.join()
    finally:
        signal.signal(signal.SIGALRM, old)
    assert seen == [1]
    assert blocked.exitcode == -signal.SIGKILL


def test_other_threads_run_during_a_join(mp, blocked):
    timer = threading.Timer(0.05, blocked.kill)
    timer.start()
    blocked.join()
    timer.join()
    assert blocked.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("method, number", [("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)])
def test_ending_it(mp, blocked, method, number):
    assert getattr(blocked, method)() is None
    blocked.join()
    assert blocked.exitcode == -number
    assert getattr(blocked, method)() is None  # silent on one that has ended


def test_close_refuses_a_living_process(mp, blocked):
    with pytest.raises(ValueError, match=r"^Cannot close a process while it is still running\. You should first"):
        blocked.close()
    assert blocked.is_alive()


def test_nothing_works_after_close(mp):
    process = started(mp, int)
    process.join()
    process.close()
    process.close()
    for use in ("start", "join", "is_alive", "terminate", "kill"):
        with pytest.raises(ValueError, match="^process object is closed$"):
            getattr(process, use)()
    for name in ("exitcode", "pid", "ident", "sentinel"):
        with pytest.raises(ValueError, match="^process object is closed$"):
            getattr(process, name)
    assert "closed" in repr(process)


def test_close_before_start(mp):
    process = mp.Process()
    process.close()
    with pytest.raises(ValueError, match="^process object is closed$"):
        process.start()


def test_starting_twice(mp):
    process = started(mp, int)
    with pytest.raises(AssertionError, match="^cannot start a process twice$"):
        process.start()
    process.join()
    with pytest.raises(AssertionError, match="^cannot start a process twice$"):
        process.start()


def test_joining_before_the_start(mp):
    with pytest.raises(AssertionError, match="^can only join a started process$"):
        mp.Process().join()


def test_only_the_parent_may_join_test_or_start(mp, blocked):
    fresh = mp.Process()
    assert in_child(mp, error_of, blocked.join) == "AssertionError: can only join a child process"
    assert in_child(mp, error_of, blocked.is_alive) == "AssertionError: can only test a child process"
    expected = "AssertionError: can only start a process object created by current process"
    assert in_child(mp, error_of, fresh.start) == expected
    assert in_child(mp, lambda: "unknown" in repr(blocked))
    assert in_child(mp, lambda: blocked.exitcode) is None


def test_daemons_may_not_have_children(mp):
    def child():
        mp.current_process()._config["daemon"] = True
        return error_of(mp.Process().start)

    assert in_child(mp, child) == "AssertionError: daemonic processes are not allowed to have children"


def test_a_subclass_that_forgot_init_fails_without_a_crash(mp):
    class Forgetful(mp.Process):
        def __init__(self):
            pass

    process = Forgetful()
    for use in ("start", "join", "is_alive", "close", "run"):
        with pytest.raises(AttributeError):
            getattr(process, use)()


def test_a_started_process_keeps_no_target(mp):
    process = started(mp, int)
    assert not {"_target", "_args", "_kwargs"} & set(vars(process))
    process.join()


def test_a_process_that_was_never_started(mp):
    process = mp.Process()
    assert process.exitcode is None
    assert process.pid is None
    assert not process.is_alive()
    assert "initial" in repr(process)
    with pytest.raises(ValueError, match="^process not started$"):
        process.sentinel  # noqa: B018


def test_group_must_be_none(mp):
    with pytest.raises(AssertionError, match="group argument must be None for now"):
        mp.Process(group=1)


def test_run_may_be_called_directly(mp):
    seen = []
    mp.Process(target=seen.append, args=(3,)).run()
    mp.Process().run()
    assert seen == [3]


def test_run_may_be_overridden_and_called_above(mp):
    class Loud(mp.Process):
        def run(self):
            super().run()
            sys.exit(self.name == "Loud-5" or 4)

    process = Loud(target=int, name="Loud-5")
    process.start()
    process.join()
    assert process.exitcode == 1


def test_arguments_arrive(mp):
    def take(a, *rest, **more):
        return (a, rest, more)

    reader, writer = connection.Pipe(duplex=False)
    with reader, writer:
        process = mp.Process(target=lambda *a, **k: writer.send(take(*a, **k)), args=[1, 2], kwargs={"x": 3})
        process.start()
        assert reader.recv() == (1, (2,), {"x": 3})
        process.join()


def test_keywords_may_be_none(mp):
    if mp is not cmp and sys.version_info < (3, 14):
        pytest.skip("the standard library's from 3.14 on")
    process = mp.Process(target=int, kwargs=None)
    process.start()
    process.join()
    assert process.exitcode == 0


def test_the_sentinel_is_ready_when_the_process_has_ended(mp, blocked):
    assert connection.wait([blocked.sentinel], 0.02) == []
    blocked.kill()
    assert connection.wait([blocked.sentinel], 10) == [blocked.sentinel]
    blocked.join()
    assert connection.wait([blocked.sentinel], 0) == [blocked.sentinel]


@pytest.mark.parametrize("verb, number", [("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)])
def test_signals_raise_the_audit_event_of_os_kill(mp, verb, number):
    program = (
        "import sys, time, multiprocessing\n"
        "sys.addaudithook(lambda event, args: event == 'os.kill' and print(args[0] == process.pid, int(args[1])))\n"
        "process = multiprocessing.Process(target=time.sleep, args=(60,))\n"
        "process.start()\n"
        f"process.{verb}()\n"
        "process.join()\n"
        f"process.{verb}()\n"
    )
    arguments = ["-m", "cmp"] if mp.__name__ == "cmp" else []
    done = subprocess.run([sys.executable, *arguments, "-c", program], capture_output=True, text=True, timeout=150)
    assert (done.stdout, done.stderr) == (f"True {number:d}\n", "")


def test_processes_may_start_from_threads(mp):
    codes = []

    def work():
        codes.append(outcome(mp, sys.exit, 3))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [3] * 4
