"""Process as its documentation has it, on both implementations."""

from __future__ import annotations

import collections
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import connection

import pytest

import cmp


def started(mp, target, *args, **more):
    process = mp.Process(target=target, args=args, **more)
    process.start()
    return process


def outcome(mp, target, *args):
    """The exit code of a process that ran the target."""
    process = started(mp, target, *args)
    process.join()
    code = process.exitcode
    process.close()
    return code


def in_child(mp, function, *args):
    """What the function returns in a child."""
    reader, writer = connection.Pipe(duplex=False)
    with reader, writer:
        process = started(mp, lambda: writer.send(function(*args)))
        value = reader.recv()
        process.join()
        assert process.exitcode == 0
        return value


@pytest.fixture
def blocked(mp):
    """A living child that waits for ever, ended by the test or else here."""
    process = started(mp, signal.pause)
    yield process
    if not process._closed and process.is_alive():
        process.kill()
        process.join()


def test_run_takes_whatever_a_subclass_made_of_its_arguments(mp):
    class Prepared(mp.Process):
        def __init__(self, **more):
            super().__init__(**more)
            self._args, self._kwargs = [1, 2], collections.UserDict(key=3)

    came = []
    Prepared(target=lambda *args, **kwargs: came.append((args, kwargs))).run()
    assert came == [((1, 2), {"key": 3})]


# ---- exit codes ----


def leave(code):
    sys.exit(code)


@pytest.mark.parametrize(
    "code, seen",
    [(None, 0), (0, 0), (7, 7), (True, 1), (False, 0), (256, 0), (-1, 255), (257, 1), ("words", 1), ([1], 1)],
)
def test_exit_code_of_system_exit(mp, capfd, code, seen):
    assert outcome(mp, leave, code) == seen
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


# ---- standard streams ----


def test_what_the_parent_has_buffered_is_printed_once():
    for name in ("multiprocessing", "cmp"):
        code = f"import {name} as mp; print('once'); p = mp.Process(target=int); p.start(); p.join()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("once\n", "")


def test_a_forked_child_shares_its_parents_resource_tracker(mp):
    code = (
        "import os, %s as mp\n"
        "from multiprocessing import resource_tracker, shared_memory\n"
        "def child():\n"
        "    shared_memory.SharedMemory('cmp-test-%%d' %% os.getppid(), create=True, size=1).close()\n"
        "resource_tracker.ensure_running()\n"
        "p = mp.get_context('fork').Process(target=child); p.start(); p.join()\n"
        "shared_memory.SharedMemory('cmp-test-%%d' %% os.getpid()).unlink()\n" % mp.__name__
    )
    # A tracker of the child's own would say that the memory leaked, when the child ends, and remove it.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_the_child_prints_comes_out(mp, capfd):
    assert outcome(mp, print, "hello") == 0
    assert capfd.readouterr().out == "hello\n"


def test_stdin_of_a_child_is_empty(mp):
    code = (
        "import sys, %s as mp\n"
        "def child():\n"
        "    print([sys.stdin.read(), sys.stdin.closed, sys.__stdin__.closed], flush=True)\n"
        "sys.stdin.readline()\n"
        "p = mp.get_context('fork').Process(target=child); p.start(); p.join()\n"
        "print(repr(sys.stdin.readline()))\n" % mp.__name__
    )
    done = subprocess.run([sys.executable, "-c", code], input="1\n2\n3\n", capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("['', False, True]\n'2\\n'\n", "")


def test_a_grandchild_has_a_stdin_of_its_own(mp):
    def child():
        return in_child(mp, lambda: (sys.stdin.read(), sys.stdin.tell(), sys.stdin.seekable()))

    assert in_child(mp, child) == ("", 0, True)


@pytest.mark.parametrize("value", [None, io.StringIO("x")])
def test_a_parent_may_have_replaced_its_stdin(mp, monkeypatch, value):
    monkeypatch.setattr(sys, "stdin", value)
    assert in_child(mp, lambda: sys.stdin is None or sys.stdin.read()) == (value is None or "")


class Hostile:
    def __init__(self, error):
        self.error = error

    def write(self, text):
        return len(text)

    def flush(self):
        raise self.error


@pytest.mark.parametrize("error, code", [(ValueError, 0), (AttributeError, 0), (OSError, 1)])
def test_failing_flush_at_exit(mp, error, code):
    def child():
        sys.stdout = Hostile(error)

    assert outcome(mp, child) == code


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_parent_may_have_no_output(mp, monkeypatch, name):
    monkeypatch.setattr(sys, name, None)
    assert outcome(mp, int) == 0


# ---- life: start, join, close ----


def test_join_with_a_timeout_returns_in_time(mp, blocked):
    begin = time.monotonic()
    assert blocked.join(0.1) is None
    assert 0.09 < time.monotonic() - begin < 5
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


def message(function):
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def test_only_the_parent_may_join_test_or_start(mp, blocked):
    fresh = mp.Process()
    assert in_child(mp, message, blocked.join) == "AssertionError: can only join a child process"
    assert in_child(mp, message, blocked.is_alive) == "AssertionError: can only test a child process"
    expected = "AssertionError: can only start a process object created by current process"
    assert in_child(mp, message, fresh.start) == expected
    assert in_child(mp, lambda: "unknown" in repr(blocked))
    assert in_child(mp, lambda: blocked.exitcode) is None


def test_daemons_may_not_have_children(mp):
    def child():
        mp.current_process()._config["daemon"] = True
        return message(mp.Process().start)

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


# ---- who is who ----


def test_a_counter_that_is_no_iterator_is_an_error(mp, monkeypatch):
    monkeypatch.setattr("multiprocessing.process._process_counter", [1])
    with pytest.raises(TypeError, match="is not an iterator"):
        mp.Process()


def test_names_count_per_process(mp):
    def child():
        def names():
            return mp.current_process().name, mp.parent_process().name

        return [names(), mp.Process().name, in_child(mp, names)]

    own, other, grandchild = in_child(mp, child)
    name, parent = own
    assert parent == mp.current_process().name
    number = name.partition("-")[2]
    assert name == f"Process-{number}"
    assert (other, grandchild) == (f"Process-{number}:1", (f"Process-{number}:2", name))


def test_the_books_of_a_child(mp, blocked):
    def child():
        me = mp.current_process()
        return (
            me.pid == me.ident == os.getpid(),
            mp.parent_process().pid == os.getppid(),
            mp.parent_process().is_alive(),
            mp.active_children(),
            me.is_alive(),
            "started" in repr(me),
        )

    assert in_child(mp, child) == (True, True, True, [], True, True)
    assert mp.parent_process() is None


def test_active_children_reaps(mp):
    process = started(mp, int)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process not in mp.active_children()
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, 0)


def test_active_children_lists_who_lives(mp, blocked):
    assert mp.active_children() == [blocked]
    blocked.kill()
    blocked.join()
    assert mp.active_children() == []


def test_config_is_inherited(mp):
    key = in_child(mp, lambda: bytes(mp.current_process().authkey))
    assert key == mp.current_process().authkey
    assert in_child(mp, lambda: mp.current_process().daemon) is False


def test_logging_knows_the_process(mp):
    record = logging.LogRecord("n", 0, "f", 1, "m", (), None)
    assert record.processName == "MainProcess"
    assert in_child(mp, lambda: logging.LogRecord("n", 0, "f", 1, "m", (), None).processName).startswith("Process-")


def test_repr_of_all_states(mp):
    process = mp.Process(name="x", daemon=True, target=int)
    here = os.getpid()
    kind = process.__class__.__name__
    assert repr(process) == f"<{kind} name='x' parent={here} initial daemon>"
    process.start()
    pid = process.pid
    process.join()
    assert repr(process) == f"<{kind} name='x' pid={pid} parent={here} stopped exitcode=0 daemon>"
    process.close()
    assert repr(process) == f"<{kind} name='x' parent={here} closed daemon>"


def test_daemon_can_only_be_set_before_the_start(mp, blocked):
    with pytest.raises(AssertionError, match="process has already started"):
        blocked.daemon = True


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


def test_after_fork_functions_run_with_the_parents_process_still_there(mp):
    import weakref
    from multiprocessing import util

    class Thing:
        pass

    thing, seen = Thing(), []
    main = weakref.ref(mp.current_process())
    util.register_after_fork(thing, lambda it: seen.append(main() is not None))
    assert in_child(mp, lambda: seen) == [True]
    assert seen == []


def test_at_fork_hooks_and_the_audit_event():
    code = (
        "import os, sys, %s as mp\n"
        "sys.addaudithook(lambda event, args: event == 'os.fork' and print('audit', flush=True))\n"
        "os.register_at_fork(before=lambda: print('before', flush=True),\n"
        "    after_in_parent=lambda: None, after_in_child=lambda: print('child', flush=True))\n"
        "p = mp.get_context('fork').Process(target=print, args=('run',)); p.start(); p.join()\n"
    )
    for name in ("multiprocessing", "cmp"):
        done = subprocess.run([sys.executable, "-c", code % name], capture_output=True, text=True)
        assert (done.stdout.split(), done.stderr) == (["audit", "before", "child", "run"], "")


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


def test_a_fork_beside_threads_does_not_warn_the_user():
    code = (
        "import threading, warnings, %s as mp\n"
        "stop = threading.Event(); t = threading.Thread(target=stop.wait); t.start()\n"
        "p = mp.get_context('fork').Process(target=int); p.start(); p.join(); stop.set()\n"
        "print(p.exitcode)\n"
    )
    for name in ("multiprocessing", "cmp"):
        done = subprocess.run([sys.executable, "-c", code % name], capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("0\n", "")


def test_signal_handlers_are_inherited(mp):
    old = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        assert in_child(mp, signal.getsignal, signal.SIGUSR1) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_processes_may_start_from_threads(mp):
    codes = []

    def work():
        codes.append(outcome(mp, leave, 3))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [3] * 4


def test_the_main_thread_of_a_child_has_its_own_ids(mp):
    def child():
        main = threading.main_thread()
        return main is threading.current_thread(), main.native_id == threading.get_native_id() == os.getpid()

    assert in_child(mp, child) == (True, True)


def test_logger_says_what_happens(mp):
    code = (
        "import logging, %s as mp\n"
        "mp.log_to_stderr(logging.INFO)\n"
        "p = mp.Process(target=int); p.start(); p.join()\n" % mp.__name__
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    said = [line.partition("] ")[2] for line in done.stderr.splitlines() if "Process-1]" in line]
    ending = ["process shutting down", "process exiting with exitcode 0"]
    if sys.version_info >= (3, 13):  # exit duties moved behind the report
        ending.reverse()
    assert said == ["child process calling self.run()", *ending]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the stdlib refuses from 3.11 on")
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["Lock", "Semaphore", "Queue", "JoinableQueue", "SimpleQueue"])
def test_what_the_fork_context_made_is_refused_by_a_spawned_process(mp, method, kind):
    made = getattr(mp.get_context("fork"), kind)()
    process = mp.get_context(method).Process(target=print, args=(made,))
    with pytest.raises(RuntimeError, match="^A SemLock created in a fork context is being shared with a process in a"):
        process.start()
