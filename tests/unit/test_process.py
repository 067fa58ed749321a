"""Process: what cmp promises beyond the stdlib, and what holds its pieces together."""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import subprocess
import sys
import time
import weakref
from multiprocessing import connection, process as books, reduction

import pytest
from support import alone, sandbox
from support.places import ROOT, child_environment

import cmp
from cmp import _core

METHODS = ["fork", "spawn", "forkserver"]


def context_of(method):
    return cmp.get_context(method)


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


# ---- signals ----


def test_interrupt_sends_sigint(capfd):
    reader, writer = connection.Pipe(duplex=False)

    def child():
        writer.send("ready")
        while True:  # a signal just before pause() would interrupt nothing
            time.sleep(0.05)

    process = cmp.Process(target=child)
    process.start()
    reader.recv()
    process.interrupt()
    process.join()
    assert process.exitcode == 1
    assert "KeyboardInterrupt" in capfd.readouterr().err
    reader.close()
    writer.close()


# ---- the lifeline ----

FAMILY = """
import cmp, os, signal, sys, time
def busy(out):
    os.write(out, b"%d\\n" % os.getpid())
    while True:
        pass
def parent(out, method):
    if method == "fork":
        p = cmp.Process(target=busy, args=(out,), daemon=True)
    else:
        import worker
        p = cmp.get_context(method).Process(target=worker.work, daemon=True)
    p.start()
    signal.pause()
if __name__ == "__main__":
    r, w = os.pipe()
    os.dup2(w, 1)
    p = cmp.Process(target=parent, args=(w, sys.argv[1])); p.start()
    pid = int(os.read(r, 100))
    begin = time.monotonic()
    p.kill(); p.join()
    while True:
        try:
            state = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            state = "X"
        if state in "ZX" or time.monotonic() > begin + 10:
            break
        time.sleep(0.01)
    if state not in "ZX":
        os.kill(pid, 9)
    print(state in "ZX", file=sys.stderr)
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_daemon_ends_with_its_killed_parent(method, tmp_path):
    (tmp_path / "family.py").write_text(FAMILY)
    (tmp_path / "worker.py").write_text(
        "import os\ndef work():\n    os.write(1, b'%d\\n' % os.getpid())\n    while True:\n        pass\n"
    )
    done = subprocess.run(
        [sys.executable, "family.py", method],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=150,
        env=child_environment(),
    )
    assert done.stderr == "True\n"


def test_others_outlive_their_parent(tmp_path):
    code = """
import cmp, os, sys
r, w = os.pipe(); r2, w2 = os.pipe()
def stays():
    os.close(w2)
    os.write(w, b"ready")
    os.read(r2, 1)                      # until the test, too, has closed its end
    os.write(1, b"still here")
def parent():
    cmp.Process(target=stays).start()
    os.read(r, 5)
    os.kill(os.getpid(), 9)
p = cmp.Process(target=parent); p.start(); p.join()
os.close(w2)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=150, env=child_environment()
    )
    assert (done.stdout, done.stderr) == ("still here", "")


# ---- spawned children ----


def travelled(method, *objects):
    """What arrives in a child and what the child says of it."""
    here, there = connection.Pipe()
    with here, there:
        process = context_of(method).Process(target=say, args=(there, *objects))
        process.start()
        answer = here.recv()
        process.join()
        assert process.exitcode == 0
        process.close()
        return answer


class Descriptor:
    def __init__(self, fd):
        self.fd = fd

    def __reduce__(self):
        return opened, (reduction.DupFd(self.fd),)


def opened(dup):
    return Descriptor(dup.detach())


def say(conn, *objects):
    inodes = {os.fstat(o.fd).st_ino for o in objects}
    conn.send((len({o.fd for o in objects}), len(inodes), [os.get_inheritable(o.fd) for o in objects]))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_descriptor_that_objects_share_travels_once_and_is_not_handed_on(method):
    fd = os.memfd_create("test")
    try:
        assert travelled(method, *[Descriptor(fd) for _ in range(3)]) == (3, 1, [False] * 3)
    finally:
        os.close(fd)


class Custom(cmp.get_context("spawn").Process):
    def __init__(self, conn, extra):
        super().__init__(name="custom")
        self.conn, self.extra = conn, extra

    def run(self):
        self.conn.send((self.extra, self.name, type(self.name) is str, vars(self).get("_popen")))


def test_a_subclass_travels_with_its_attributes():
    here, there = connection.Pipe()
    with here, there:
        process = Custom(there, [1, 2])
        process.start()
        assert here.recv() == ([1, 2], "custom", True, None)
        process.join()
    assert type(process.name) is str
    process.close()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_launch_that_fails_leaves_the_process_unstarted(method):
    process = context_of(method).Process(target=lambda: None)
    with pytest.raises(Exception, match="pickle|local object"):
        process.start()
    assert process.pid is None
    assert type(process.name) is str
    assert process not in cmp.active_children()


# ---- cost, and nothing kept ----


def test_a_process_is_freed_by_its_last_reference():
    process = cmp.Process(target=int)
    process.start()
    process.join()
    watch = weakref.ref(process)
    gc.disable()
    try:
        del process
        assert watch() is None
    finally:
        gc.enable()
    assert not [p for p in books._dangling if p.name == "gone"]


def test_references_do_not_grow():
    def once():
        process = cmp.Process(target=int)
        process.start()
        process.sentinel  # noqa: B018
        process.join(100)
        process.close()

    for _ in range(5):
        once()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(50):
        once()
    gc.collect()
    assert len(gc.get_objects()) < before + 20


COST = """
import cmp, multiprocessing, os, resource
def faults(start, count=30):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    for _ in range(count):
        start()
    return (resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before) / count
def bare():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
def through(package):
    process = package.get_context("fork").Process(target=int)
    process.start()
    process.join()
kinds = [bare, lambda: through(cmp), lambda: through(multiprocessing)]
for kind in kinds:
    faults(kind)
print(*map(faults, kinds))
"""


def test_a_child_touches_few_pages():
    """Copy-on-write faults are most of what a child costs, and a steadier measure than time."""
    done = subprocess.run([sys.executable, "-c", COST], capture_output=True, text=True, env=child_environment())
    bare, ours, theirs = map(float, done.stdout.split())
    assert ours - bare < 100
    assert (ours - bare) * 1.6 < theirs - bare


def test_the_popen_object_offers_what_the_books_ask_for(blocked):
    popen = blocked._popen
    assert isinstance(popen, _core.Popen)
    assert (popen.method, popen.pid, popen.poll(), popen.returncode) == ("fork", blocked.pid, None, None)
    assert popen.wait(0) is None
    assert popen.duplicate_for_child(7) == 7
    popen.terminate()
    assert popen.wait() == popen.poll() == popen.returncode == -signal.SIGTERM


STARTS_AMONG_FLUSHES = """
import cmp, fcntl, os, sys, threading, time
end, start = os.pipe()
fcntl.fcntl(start, fcntl.F_SETPIPE_SZ, 4096)
os.set_blocking(start, False)
while True:
    try:
        os.write(start, b".")
    except BlockingIOError:
        break
os.set_blocking(start, True)
sys.stdout = open(start, "w")
sys.stdout.write("pending")

def run(process):
    process.start()
    process.join()

def sleeps(thread):
    with open(f"/proc/self/task/{thread.native_id}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "S"

threads = [threading.Thread(target=run, args=(cmp.Process(),), daemon=True) for _ in range(3)]
for thread in threads:
    thread.start()
while not all(map(sleeps, threads)):
    time.sleep(0.01)
threading.Thread(target=lambda: [os.read(end, 4096) for _ in iter(int, 1)], daemon=True).start()
for thread in threads:
    thread.join(100)
os._exit(any(thread.is_alive() for thread in threads))
"""


def test_threads_that_start_processes_while_stdout_is_full_leave_no_child_behind_its_lock():
    """One thread's flush waits in write(), the others' for the stream's lock, and whoever goes on forks."""
    program = [sys.executable, "-c", STARTS_AMONG_FLUSHES]
    assert subprocess.run(program, timeout=150, env=child_environment()).returncode == 0


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


def leave_with_a_large_code():
    sys.exit(2**80)


def test_an_exit_code_of_any_size_is_logged(capfd):
    logger = cmp.log_to_stderr("INFO")
    try:
        process = cmp.Process(target=leave_with_a_large_code)
        process.start()
        process.join()
    finally:
        logger.handlers.clear()
        logger.setLevel("NOTSET")
    assert process.exitcode == 255
    assert f"process exiting with exitcode {2**80}" in capfd.readouterr().err


def test_a_handle_starts_one_process():
    process = cmp.Process()
    process.start()
    pid = process.pid
    with pytest.raises(RuntimeError, match="one process"):
        process._popen.__init__(cmp.Process())
    process.join()
    assert process.pid == pid


def test_a_class_with_any_name_names_its_processes():
    odd = type("Odd", (type,), {"__name__": property(lambda cls: 12)})
    assert odd("X", (cmp.Process,), {})().name.startswith("12-")


def test_a_script_that_is_not_there_is_told_of_without_argv(capfd, monkeypatch):
    monkeypatch.delattr(sys, "orig_argv")
    assert _core.run_file("/nowhere/to/be found.py") == 2
    assert "[Errno 2] No such file" in capfd.readouterr().err


def hears_what_came_at_its_birth() -> None:
    """A C handler of the fork's sends the child a signal before its interpreter is ready."""
    libc = ctypes.CDLL(None)
    at_birth = ctypes.CFUNCTYPE(None)(lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert libc.__register_atfork(None, None, at_birth, None) == 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    process = cmp.Process(target=time.sleep, args=(60,))
    process.start()
    process.join(100)
    assert process.exitcode == 7
    masks = cmp.Queue()
    signal.signal(signal.SIGTERM, lambda *_: None)
    process = cmp.Process(target=lambda: masks.put(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
    process.start()
    assert masks.get(timeout=100) == signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
    process.join()


def test_signal_that_comes_while_a_child_is_born_is_not_lost():
    alone.run(hears_what_came_at_its_birth)


# A C function for a hook: no Python code of the hook's runs in which the handler could.
INTERRUPTED = """
import ctypes, functools, os, signal, sys
import cmp

class Interrupt(Exception): pass

def interrupt(number, frame): raise Interrupt("here")

signal.signal(signal.SIGUSR1, interrupt)
reader, writer = os.pipe()

def work():
    os.read(reader, 1)
    print("ran", flush=True)

process = (cmp if sys.argv[2] == "default" else cmp.get_context("fork")).Process(target=work)
me = os.getpid()
os.register_at_fork(**{sys.argv[1]: functools.partial(ctypes.CDLL(None)["raise"], int(signal.SIGUSR1))})
try:
    process.start()
except Interrupt:
    print("interrupted", "parent" if os.getpid() == me else "child", process in cmp.active_children())
os.write(writer, b"x")
process.join()
print("exit code", process.exitcode, flush=True)
"""


@pytest.mark.parametrize("context", ["default", "fork"])
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("after_in_parent", ["ran", "interrupted parent True", "exit code 0"]),
        ("after_in_child", ["exit code 1"]),
    ],
)
def test_a_signal_right_after_the_fork_leaves_parent_and_child_where_they_are(where, expected, context):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, where, context],
        capture_output=True, text=True, timeout=150, env=child_environment(),
    )  # fmt: skip
    assert sorted(done.stdout.splitlines()) == sorted(expected), done.stderr
    assert ("Interrupt: here" in done.stderr) == (where == "after_in_child")
