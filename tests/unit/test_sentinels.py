"""How the end of a process is learnt: its sentinel, and children that others have reaped."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from multiprocessing import connection

import pytest
from support import sandbox
from support.places import ROOT, child_environment

import cmp


def descriptors():
    """The open ones, but for that of the listing."""
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}


# ---- reaped by others ----


def test_a_child_reaped_by_somebody_else_has_ended_with_255(blocked):
    blocked.kill()
    os.waitpid(blocked.pid, 0)
    assert not blocked.is_alive()
    assert blocked.exitcode == 255
    blocked.join()
    assert blocked not in cmp.active_children()
    assert connection.wait([blocked.sentinel], 0) == [blocked.sentinel]


def test_a_join_that_runs_while_somebody_else_reaps_ends(blocked):
    sentinel = blocked.sentinel
    signal.signal(
        signal.SIGALRM, lambda *a: (blocked.kill(), select.select([sentinel], [], []), os.waitpid(blocked.pid, 0))
    )
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        blocked.join()
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert blocked.exitcode == 255


@pytest.mark.parametrize("timeout", [None, 100])
def test_with_sigchld_ignored_a_join_ends(timeout):
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        process = cmp.Process(target=time.sleep, args=(0.05,))
        process.start()
        begin = time.monotonic()
        process.join(timeout)
        assert time.monotonic() - begin < 90
        assert (process.is_alive(), process.exitcode) == (False, 255)
    finally:
        signal.signal(signal.SIGCHLD, old)


def test_no_signal_goes_to_a_stranger_who_has_the_pid(blocked):
    """Its end is found out first, so that nobody else is signalled, and no error comes of it."""
    blocked.kill()
    os.waitpid(blocked.pid, 0)
    assert blocked.terminate() is None
    assert blocked.exitcode == 255


# ---- the sentinel ----


def test_the_sentinel_is_a_pidfd_opened_at_first_use(blocked):
    before = descriptors()
    sentinel = blocked.sentinel
    assert blocked.sentinel == sentinel
    assert descriptors() - before == {sentinel}
    assert os.readlink(f"/proc/self/fd/{sentinel}") == "anon_inode:[pidfd]"
    assert not os.get_inheritable(sentinel)
    blocked.kill()
    blocked.join()
    blocked.close()
    assert descriptors() == before


def test_a_sentinel_that_was_closed_is_opened_again_and_what_took_its_number_is_left_alone(blocked):
    number = blocked.sentinel
    os.close(number)  # as programs do that close all descriptors
    other = os.open(os.devnull, os.O_RDONLY)
    assert other == number
    assert blocked.sentinel != number
    assert not connection.wait([blocked.sentinel], 0)
    blocked.kill()
    assert connection.wait([blocked.sentinel], 10) == [blocked.sentinel]
    blocked.join()
    os.close(blocked.sentinel)
    another = os.open(os.devnull, os.O_RDONLY)
    blocked.close()
    os.close(other)
    os.close(another)


def test_a_grandchild_does_not_delay_the_sentinel():
    reader, writer = connection.Pipe(duplex=False)

    def child():
        pid = os.fork()
        if pid == 0:
            signal.pause()
        writer.send(pid)

    process = cmp.Process(target=child)
    process.start()
    try:
        assert connection.wait([process.sentinel], 10) == [process.sentinel]
        process.join()
    finally:
        os.kill(reader.recv(), signal.SIGKILL)
        reader.close()
        writer.close()


def test_a_process_costs_no_descriptor():
    before = descriptors()
    processes = [cmp.Process(target=signal.pause) for _ in range(5)]
    for process in processes:
        process.start()
    assert descriptors() == before
    for process in processes:
        process.kill()
        process.join()


def test_the_parents_sentinel_in_a_child_and_grandchild(tmp_path):
    code = """
import cmp, os, sys
def grandchild(out):
    parent = cmp.parent_process()
    print("alive", parent.is_alive(), parent.pid != os.getppid(), flush=True)
    os.write(out, b"x")
    parent.join(100)
    print("ended", not parent.is_alive(), flush=True)
def child():
    r, w = os.pipe()
    if os.fork() == 0:                 # a foreign fork: parent_process() is still that of the process above
        grandchild(w)
        os._exit(0)
    os.read(r, 1)
    os.kill(os.getppid(), 9)
    os.wait()
p = cmp.Process(target=child); p.start(); p.join()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=150, env=child_environment()
    )
    assert done.stderr == ""
    assert done.stdout == "alive True True\nended True\n"
    assert done.returncode == -signal.SIGKILL


PARTED = """
import cmp, os, signal, sys
def child():
    parent = cmp.parent_process()
    parent.join(100)
    os.write(1, b"alive" if parent.is_alive() else b"ended")
def brother(life, end):
    os.close(end)
    os.read(life, 1)                    # until this program has ended
def parent(method, life, end):
    cmp.get_context(method).Process(target=child).start()
    cmp.Process(target=brother, args=(life, end)).start()
    os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    r, w = os.pipe()
    os.dup2(w, 1)
    p = cmp.Process(target=parent, args=(sys.argv[1], *os.pipe())); p.start(); p.join()
    print(os.read(r, 100).decode(), file=sys.stderr)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_learns_of_its_parent_s_end_though_a_brother_lives(method, tmp_path):
    (tmp_path / "parted.py").write_text(PARTED)
    done = subprocess.run(
        [sys.executable, "parted.py", method],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=150,
        env=child_environment(),
    )
    assert done.stderr == "ended\n"


# What a sandbox does that does not know the call.
NO_PIDFD = """
import errno, sys
from support import sandbox
sandbox.refuse(errno.ENOSYS, "pidfd_open")
import cmp, os, signal, time
from multiprocessing import connection
before = sorted(os.listdir("/proc/self/fd"))
p = cmp.Process(target=signal.pause); p.start()
p.join(0.01); print(p.is_alive(), connection.wait([p.sentinel], 0.01))
p.kill(); print(connection.wait([p.sentinel], 100) == [p.sentinel]); p.join(100); print(p.exitcode)
def child(w):
    parent = cmp.parent_process(); alive = parent.is_alive(); os.write(w, b"x"); parent.join(100)
    print(alive, parent.is_alive(), flush=True)
def middle():
    r, w = os.pipe(); q = cmp.Process(target=child, args=(w,)); q.start(); os.read(r, 1); os.kill(os.getpid(), 9)
q = cmp.Process(target=middle); q.start(); q.join()
p.close(); q.close()
print(before == sorted(os.listdir("/proc/self/fd")))
s = cmp.get_context("spawn").Process(target=int); s.start(); print(connection.wait([s.sentinel], 20) == [s.sentinel])
s.join(); print(s.exitcode)
"""


def test_without_pidfds_pipes_do():
    sandbox.need()
    done = subprocess.run(
        [sys.executable, "-c", NO_PIDFD],
        capture_output=True,
        text=True,
        timeout=150,
        env=child_environment(PYTHONPATH=str(ROOT / "tests")),
    )
    assert done.stderr == ""
    said = done.stdout.splitlines()
    said.remove("True False")  # the orphan's, whenever it comes
    assert said == ["True []", "True", "-9", "True", "True", "0"]


def test_join_keeps_its_time_though_the_sentinel_is_something_else_by_now():
    process = cmp.Process(target=signal.pause)
    process.start()
    sentinel = process.sentinel
    with open("/dev/zero") as always_readable:
        os.dup2(always_readable.fileno(), sentinel)
    process.join(0.2)
    assert process.exitcode is None
    os.close(sentinel)
    process.join(0.2)
    assert process.exitcode is None
    process.kill()
    process.join(100)
    assert process.exitcode == -signal.SIGKILL
