"""Who is who among processes, on both implementations: names, numbers, relatives, reprs."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading

import pytest
from support.children import in_child, started


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
