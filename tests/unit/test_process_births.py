"""Children as they are born: what travels to them, what fails, and signals and threads meanwhile."""

from __future__ import annotations

import ctypes
import importlib
import io
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import connection, forkserver, reduction, resource_tracker, util

import pytest
from support import alone, session
from support.places import child_environment
from support.waiting import LONG_S

import cmp
import cmp.launchers
import cmp.managers
from cmp import _core, heirs

# ---- forked children ----


LOCKS = {
    "tracker": resource_tracker._resource_tracker._lock,
    "fork server": forkserver._forkserver._lock,
    "proxies": cmp.managers.BaseProxy._mutex,
    "temporary files": tempfile._once_lock,
}


def child_by_hand(use) -> int:
    """The wait status of a child by os.fork that has called it, or was killed since it did not end."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(LONG_S)
        use()
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def child_by_process(use) -> int:
    process = cmp.Process(target=use)
    process.start()
    process.join(LONG_S)
    return process.exitcode


@pytest.mark.parametrize("child", [child_by_process, child_by_hand])
@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
def test_a_child_forked_while_a_thread_has_a_lock_of_the_standard_library_s_helpers_can_have_it(lock, child):
    def use():
        with lock:
            pass

    taken, done = threading.Event(), threading.Event()

    def be_starting():
        with lock:
            taken.set()
            done.wait()

    thread = threading.Thread(target=be_starting)
    thread.start()
    taken.wait()
    outcome = child(use)
    done.set()
    thread.join()
    assert outcome == 0


class StandsStill(io.RawIOBase):
    """A file whose writer, in the process that made it, stands still in the middle of the first write."""

    def __init__(self, fd):
        self.fd, self.owner = fd, os.getpid()
        self.begin, self.writes, self.go_on = threading.Event(), threading.Event(), threading.Event()

    def writable(self):
        return True

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=os.SEEK_SET):
        return 0

    def write(self, data):
        if os.getpid() == self.owner:
            self.writes.set()
            self.go_on.wait()
        return os.write(self.fd, data)


def start_while_a_thread(write: Callable[[], object], raw: StandsStill, start: Callable[[], None]) -> None:
    """The thread begins between the flush before the fork and the fork, which is when a hook of os.fork() runs."""

    def begin_and_write() -> None:
        raw.begin.wait()
        write()

    def hook() -> None:
        raw.begin.set()
        raw.writes.wait()

    thread = threading.Thread(target=begin_and_write)
    thread.start()
    os.register_at_fork(before=hook)
    start()
    raw.go_on.set()
    thread.join()


def start_while_a_thread_prints(stream: str, start: str, buffer=io.BufferedWriter) -> None:
    raw = StandsStill(getattr(sys, stream).fileno())
    text = io.TextIOWrapper(buffer(raw, 100), write_through=True)
    setattr(sys, stream, text)
    write = partial(print, "parent's", file=text, flush=True)
    start_while_a_thread(write, raw, partial(globals()[start], partial(print_to, stream)))
    text.flush()


def print_to(stream: str, _=None) -> None:
    print("child's", file=getattr(sys, stream), flush=stream.startswith("__"))


def in_a_process(function) -> None:
    process = cmp.Process(target=function)
    process.start()
    process.join(LONG_S)
    assert process.exitcode == 0


def in_a_pool(function) -> None:
    with cmp.Pool(1) as pool:
        pool.map_async(function, [1]).get(LONG_S)
        pool.close()
        pool.join()


@pytest.mark.parametrize("start", [in_a_process.__name__, in_a_pool.__name__])
@pytest.mark.parametrize("stream", ["stdout", "stderr", "__stdout__", "__stderr__"])
def test_a_child_forked_while_a_thread_prints_can_print(stream, start):
    process = alone.start(start_while_a_thread_prints, stream, start, stderr=subprocess.STDOUT)
    try:
        output, _ = alone.finish(process)
    finally:
        alone.end(process)
    assert (process.returncode, sorted(output.split())) == (0, ["child's", "parent's"])


def start_while_a_thread_prints_to_a_file_it_could_read() -> None:
    start_while_a_thread_prints("stdout", in_a_process.__name__, io.BufferedRandom)


def test_a_child_forked_while_a_thread_prints_to_a_file_that_can_be_read_can_print():
    assert sorted(alone.run(start_while_a_thread_prints_to_a_file_it_could_read).split()) == ["child's", "parent's"]


def start_while_a_thread_logs(name: str | None) -> None:
    raw = StandsStill(sys.stdout.fileno())
    logger = logging.getLogger(name) if name else cmp.get_logger()
    logger.addHandler(logging.StreamHandler(io.TextIOWrapper(io.BufferedWriter(raw))))
    logger.setLevel(logging.INFO)
    start_while_a_thread(partial(logger.info, "parent's"), raw, partial(in_a_process, partial(logger.info, "child's")))


@pytest.mark.parametrize("name", [None, "program's own"])
def test_a_child_forked_while_a_thread_writes_to_a_log_can_log(name):
    output = alone.run(start_while_a_thread_logs, name)
    assert output.count("parent's") == output.count("child's") == 1
    assert ("process exiting with exitcode 0" in output) == (name is None)


def start_with_a_hook_that_prints() -> None:
    os.register_at_fork(after_in_child=lambda: sys.stdout.buffer.write(b"hook's\n"))
    start_while_a_thread_prints("stdout", in_a_process.__name__)


def test_a_hook_in_a_child_forked_while_a_thread_prints_can_print():
    assert sorted(alone.run(start_with_a_hook_that_prints).split()) == ["child's", "hook's", "parent's"]


POOL_AT_IMPORT = """
import functools
import multiprocessing

class Wrapped:
    def __init__(self, value):
        self.value = value
    def __reduce__(self):
        return Wrapped, (self.value,)

def unwrap(wrapped):
    return wrapped.value

def add(x, y):
    return x + y

def import_and_add(x):
    import pool_at_import
    return pool_at_import.add(x, 1)

with multiprocessing.Pool(2, maxtasksperchild=1) as pool:
    print(pool.map(functools.partial(add, y=1), range(6), 1))
    print(pool.map(import_and_add, range(6), 1))
    print(pool.map(unwrap, [Wrapped(i) for i in range(1, 7)], 1))
"""


def test_workers_of_a_pool_made_by_a_module_that_is_being_imported_can_import_it(tmp_path):
    """Those that follow the first are forked by another thread than the one that imports it."""
    (tmp_path / "pool_at_import.py").write_text(POOL_AT_IMPORT)
    (tmp_path / "program.py").write_text("import pool_at_import\n")
    command = [sys.executable, "-m", "cmp", str(tmp_path / "program.py")]
    ended = session.run(command, timeout=LONG_S, env=child_environment())
    ended.check()
    assert ended.stdout == "[1, 2, 3, 4, 5, 6]\n" * 3


def import_in_a_child(folder: str) -> None:
    sys.path.insert(0, folder)
    threading.being_imported, threading.go_on = threading.Event(), threading.Event()
    thread = threading.Thread(target=importlib.import_module, args=["long_in_coming"])
    thread.start()
    threading.being_imported.wait()
    process = cmp.Process(target=take_from_module)
    process.start()
    process.join(LONG_S)
    threading.go_on.set()
    thread.join()
    assert process.exitcode == 0


def take_from_module() -> None:
    import long_in_coming

    assert long_in_coming.early == 1
    with pytest.raises(AttributeError, match="partially initialized module"):
        print(long_in_coming.late)


def test_a_child_forked_while_a_thread_imports_a_module_gets_what_is_there_of_it(tmp_path):
    (tmp_path / "long_in_coming.py").write_text(
        "import threading\nearly = 1\nthreading.being_imported.set()\nthreading.go_on.wait()\nlate = 2\n"
    )
    alone.run(import_in_a_child, str(tmp_path))


class Rung(Exception):
    pass


def ring_while_forks_are_held_off() -> None:
    """A timer's handler raises wherever it is called; another thread still gets the turn."""

    def ring(number, frame):
        raise Rung

    signal.signal(signal.SIGALRM, ring)
    for i in range(4000):
        try:
            signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + i % 40))
            for _ in range(300):
                with heirs.no_forks():
                    pass
        except Rung:
            pass
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    taken = []
    thread = threading.Thread(target=lambda: taken.append(_core._take_turn()))
    thread.start()
    thread.join()
    assert taken == [1], "somebody has it for ever"


def test_forks_are_held_off_no_longer_than_asked_whatever_a_signal_handler_raises():
    alone.run(ring_while_forks_are_held_off)


# ---- spawned children ----


def test_start_of_a_child_that_dies_early_ends_though_another_process_has_its_pipe(monkeypatch):
    """Another thread may fork between the making of that pipe and the closing of its reading end."""
    heirs = []

    def spawn_and_fork(*args):
        pid = spawnv_passfds(*args)
        heirs.append(os.fork())
        if heirs[-1] == 0:
            signal.pause()
        os.kill(pid, signal.SIGKILL)
        return pid

    resource_tracker.ensure_running()  # it is started by the same function
    spawnv_passfds = util.spawnv_passfds
    monkeypatch.setattr(util, "spawnv_passfds", spawn_and_fork)
    process = cmp.get_context("spawn").Process(target=len, args=(bytes(1 << 20),))
    try:
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    finally:
        os.kill(heirs[0], signal.SIGKILL)
        os.waitpid(heirs[0], 0)


def travelled(method, *objects):
    """What arrives in a child and what the child says of it."""
    here, there = connection.Pipe()
    with here, there:
        process = cmp.get_context(method).Process(target=say, args=(there, *objects))
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
    process = cmp.get_context(method).Process(target=lambda: None)
    with pytest.raises(Exception, match="pickle|local object"):
        process.start()
    assert process.pid is None
    assert type(process.name) is str
    assert process not in cmp.active_children()


# ---- signals and threads meanwhile ----


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
