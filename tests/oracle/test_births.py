"""What a child has from its parent and what not, how processes are numbered, and in which order a program ends."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from support.children import in_child
from support.places import child_environment


def program(mp, text, *options):
    """Runs a program that knows the implementation under test as `mp`."""
    head = f"import {mp.__name__} as mp, os, sys\n"
    command = [sys.executable, *options, "-c", head + text]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, env=child_environment())


# ---- what a child has ----


def wakeup_descriptor_outlives_a_fork(descriptor):
    """What the interpreter itself does, which depends on its version."""
    pid = os.fork()
    if pid == 0:
        os._exit(signal.set_wakeup_fd(-1) == descriptor)
    return bool(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def test_signal_handlers_and_the_wakeup_descriptor_are_as_after_a_fork(mp):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer)
    handler = signal.signal(signal.SIGUSR1, lambda *args: None)
    try:
        there = in_child(mp, lambda: (signal.set_wakeup_fd(-1), callable(signal.getsignal(signal.SIGUSR1))))
        assert there == (writer if wakeup_descriptor_outlives_a_fork(writer) else -1, True)
    finally:
        signal.signal(signal.SIGUSR1, handler)
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


def test_pending_signals_stay_with_the_parent(mp):
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    handler = signal.signal(signal.SIGUSR2, lambda *args: None)
    try:
        os.kill(os.getpid(), signal.SIGUSR2)
        there = in_child(mp, lambda: (signal.SIGUSR2 in signal.sigpending(), signal.pthread_sigmask(0, ())))
        assert there == (False, blocked | {signal.SIGUSR2})
        assert signal.SIGUSR2 in signal.sigpending()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGUSR2, handler)


def test_random_numbers_differ_in_each_child(mp):
    assert len({in_child(mp, random.getrandbits, 64) for _ in range(3)} | {random.getrandbits(64)}) == 4


def test_workers_inherit_the_handler_of_sigterm(mp):
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with mp.get_context("fork").Pool(1) as pool:
            assert pool.apply(signal.getsignal, (signal.SIGTERM,)) == signal.SIG_IGN
            pool.close()
            pool.join()
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_what_c_has_buffered_is_printed_once(mp):
    done = program(
        mp,
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.printf(b'from C\\n')\n"
        "p = mp.get_context('fork').Process(target=lambda: libc.fflush(None)); p.start(); p.join()\n",
    )
    # The standard library flushes Python's streams only: it prints C's twice.
    assert done.stdout.count("from C") == (1 if mp.__name__ == "cmp" else 2)


SERVED = """
import multiprocessing, {name} as mp

def child():
    import loaded_by_the_server
    print(loaded_by_the_server.pid == os.getppid(), loaded_by_the_server.pid == os.getpid(), flush=True)

import os
if __name__ == "__main__":
    mp.set_start_method("forkserver")
    mp.set_forkserver_preload(["loaded_by_the_server"])
    for _ in range(2):
        p = mp.Process(target=child)
        p.start()
        p.join()
    assert p.exitcode == 0
"""


def test_fork_server_loads_once_what_it_was_told_to(mp, tmp_path):
    (tmp_path / "loaded_by_the_server.py").write_text("import os\npid = os.getpid()\nprint('loaded', flush=True)\n")
    (tmp_path / "served.py").write_text(SERVED.format(name=mp.__name__))
    command = [sys.executable, str(tmp_path / "served.py")]
    environment = child_environment(PYTHONPATH=str(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, env=environment)
    assert (done.stdout.split(), done.stderr) == (["loaded", "True", "False", "True", "False"], "")


# ---- what goes with a fork ----


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


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the stdlib refuses from 3.11 on")
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["Lock", "Semaphore", "Queue", "JoinableQueue", "SimpleQueue"])
def test_what_the_fork_context_made_is_refused_by_a_spawned_process(mp, method, kind):
    made = getattr(mp.get_context("fork"), kind)()
    process = mp.get_context(method).Process(target=print, args=(made,))
    with pytest.raises(RuntimeError, match="^A SemLock created in a fork context is being shared with a process in a"):
        process.start()


# ---- numbers and names ----


def test_processes_workers_and_managers_are_numbered_together(mp):
    done = program(
        mp,
        "ctx = mp.get_context('fork')\n"
        "names = [ctx.Process().name]\n"
        "with ctx.Pool(2) as pool: names += [w.name for w in pool._pool]; pool.close(); pool.join()\n"
        "with ctx.Manager() as m: names.append(m._process.name)\n"
        "names.append(mp.Process().name)\n"
        "print(*names)\n",
    )
    assert done.stdout.split() == [
        *("ForkProcess-1", "ForkPoolWorker-2", "ForkPoolWorker-3", "SyncManager-4", "Process-5")
    ]


# ---- ends ----


def test_program_ends_its_daemons_and_waits_for_the_others(mp):
    done = program(
        mp,
        "import atexit, time\nfrom multiprocessing import util\nctx = mp.get_context('fork')\n"
        "r, w = os.pipe()\n"
        "def others():\n    os.read(r, 1); os.write(1, b'other done\\n')\n"
        "ctx.Process(target=time.sleep, args=(600,), daemon=True).start()\n"
        "ctx.Process(target=others).start()\n"
        "def say(what): os.write(1, what + b'\\n')\n"
        "util.Finalize(None, say, (b'early',), exitpriority=15)\n"
        "util.Finalize(None, say, (b'late',), exitpriority=-5)\n"
        "util.Finalize(None, os.write, (w, b'x'), exitpriority=1)\n",
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1], sorted(lines)) == ("early", "late", ["early", "late", "other done"])


ORDERLY = """
from multiprocessing import util
context = mp.get_context("fork")
pool = context.Pool(2)
workers = list(pool._pool)
manager = context.Manager()
items = manager.list()
folder = util.get_temp_dir()

def look(when):
    pool_lives = any(worker.is_alive() for worker in workers)
    served = manager._process.is_alive() and manager._number_of_objects()
    print(when, pool_lives, served, os.path.isdir(folder), flush=True)

for when in (16, 14, 9, -1, -101):
    util.Finalize(None, look, (when,), exitpriority=when)
"""


def test_a_program_ends_its_pools_then_its_proxies_then_its_managers_then_its_folder(mp):
    done = program(mp, ORDERLY)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        *("16 True 1 True", "14 False 1 True", "9 False 0 True", "-1 False False True", "-101 False False False")
    ]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python forks at its end before 3.12")
def test_start_is_refused_when_the_interpreter_ends(mp):
    done = program(
        mp,
        "p = mp.get_context('fork').Process(target=print)\n"
        "class Late:\n"
        "    def __del__(self, p=p, write=os.write):\n"
        "        try: p.start()\n"
        "        except BaseException as e: write(1, str(e).encode())\n"
        "late = Late()\n",
    )
    # The standard library may come no further than to its import of what forks.
    imports_no_more = "sys.meta_path is None, Python is likely shutting down"
    assert done.stdout in ("can't fork at interpreter shutdown", imports_no_more)


BESIDE_A_THREAD = """
import threading, warnings
def start():
    p = mp.get_context("fork").Process(target=int)
    p.start()
    p.join()
over = threading.Event()
threading.Thread(target=over.wait).start()
start()
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    start()
print(*[(w.category.__name__, w.filename.split("/")[-2:], "is multi-threaded" in str(w.message)) for w in seen])
over.set()
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python warns from 3.12 on")
def test_fork_beside_threads_is_warned_of_and_not_in_the_user_s_name(mp):
    """Whose line it is decides whether it is shown: by default only what the main program does."""
    done = program(mp, BESIDE_A_THREAD)
    assert done.stderr == ""
    assert done.stdout == "('DeprecationWarning', ['multiprocessing', 'popen_fork.py'], True)\n"


# ---- locks of shared values ----


def test_arrays_and_values_have_a_lock_of_their_context(mp):
    for method in ("fork", "spawn"):
        context = mp.get_context(method)
        array, value = context.Array("i", 2), context.Value("i", 1)
        assert type(array.get_lock()) is type(context.RLock()) is type(value.get_lock())
        with array.get_lock(), value.get_lock(), array:
            array[1] = value.value
        mine = context.Lock()
        assert context.Array("i", 2, lock=mine).get_lock() is mine
        assert list(array) == [0, 1]
        assert not hasattr(context.Value("i", 1, lock=False), "get_lock")


def test_current_process_is_one_for_all(mp):
    assert mp.current_process() is multiprocessing.current_process()
    assert in_child(mp, lambda: mp.current_process().name == multiprocessing.current_process().name)


def test_program_that_a_daemon_has_become_outlives_the_thread_that_started_it(mp):
    made = []

    def start():
        made.append(mp.Process(target=os.execvp, args=("sleep", ["sleep", "30"]), daemon=True))
        made[0].start()
        comm = f"/proc/{made[0].pid}/comm"
        while open(comm).read() != "sleep\n":
            time.sleep(0.001)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    end = time.monotonic() + 0.3  # the kernel tells children of a thread's end
    while time.monotonic() < end:
        assert made[0].is_alive()
    made[0].kill()
    made[0].join()
