"""What cmp's queues promise beyond the standard library's: puts that have put, memory, shutdown."""

from __future__ import annotations

import contextlib
import os
import queue as threads_queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.places import child_environment
from support.waiting import LONG_S, finish

import cmp
from cmp.queues import ShutDown


def run_script(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG_S, env=child_environment()
    )
    assert done.returncode == 0, done.stderr
    return done


# --- put has put ---


def test_put_is_there_when_it_returns(q):
    for i in range(5):
        q.put(i)
        assert q.qsize() == i + 1 and not q.empty()
    for i in range(5):
        assert q.get_nowait() == i
    assert q.empty()


def test_process_may_end_right_after_its_puts(q):
    child = cmp.Process(target=lambda: [q.put(b"x" * 100_000) for _ in range(50)])
    child.start()
    finish(child)  # before anything is taken: nothing to drain
    assert [len(q.get_nowait()) for _ in range(50)] == [100_000] * 50


def test_later_changes_of_the_object_do_not_travel(q):
    value = [1]
    q.put(value)
    value.append(2)
    assert q.get() == [1]


def test_pickling_error_is_raised_by_put(q):
    with pytest.raises(TypeError, match="pickle"):
        q.put(threading.Lock())
    assert q.qsize() == 0
    q.put(1)
    assert q.get() == 1


def test_error_of_a_reducer_leaves_the_queue_whole(q):
    class Bad:
        def __reduce__(self):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        q.put([1, Bad()])
    assert q.empty()


def test_hook_that_raises_raises_from_put():
    class Hooked(cmp.queues.Queue):
        def _on_queue_feeder_error(self, e, obj):
            raise LookupError("from the hook") from e

    with pytest.raises(LookupError, match="from the hook"):
        Hooked(ctx=cmp.get_context()).put(threading.Lock())


def test_own_hook_prints_the_traceback(capsys, q):
    try:
        raise ValueError("to be printed")
    except ValueError as error:
        q._on_queue_feeder_error(error, None)
    assert "to be printed" in capsys.readouterr().err


# --- memory ---


def test_spent_budget_is_a_memory_error_and_the_queue_stays_whole():
    run_script(
        "import cmp\n"
        "q = cmp.Queue()\n"
        "n = 0\n"
        "try:\n"
        "    while n < 1000: q.put(bytes(1 << 20)); n += 1\n"
        "except MemoryError as e: assert 'CMP_MEMORY' in str(e)\n"
        "assert 1 < n < 1000 and q.qsize() == n\n"
        "for _ in range(n): assert len(q.get_nowait()) == 1 << 20\n"
        "q.put(bytes(1 << 20)); assert len(q.get()) == 1 << 20\n"
        .replace("import cmp\n", "import os; os.environ['CMP_MEMORY'] = str(32 << 20)\nimport cmp\n")
    )  # fmt: skip


def test_memory_is_used_again_by_the_next_burst():
    q = cmp.Queue()
    for _ in range(4):
        for _ in range(60):
            q.put(bytes(1 << 20))
        for _ in range(60):
            q.get()
    # st_blocks of the memfd: what the kernel holds for it.
    held = [os.stat(f"/proc/self/fd/{fd}").st_blocks * 512 for fd in memory_descriptors()]
    assert max(held) < 70 << 20


def memory_descriptors():
    for fd in os.listdir("/proc/self/fd"):
        try:
            if "cmp-queue" in os.readlink(f"/proc/self/fd/{fd}"):
                yield fd
        except OSError:
            pass


def test_queue_costs_two_descriptors_and_gives_them_back():
    before = len(os.listdir("/proc/self/fd"))
    queues = [cmp.Queue() for _ in range(20)]
    assert len(os.listdir("/proc/self/fd")) == before + 40
    readers = [q._reader for q in queues]
    del queues
    assert len(os.listdir("/proc/self/fd")) == before + 40
    del readers
    assert len(os.listdir("/proc/self/fd")) == before


def test_too_few_descriptors_is_an_os_error():
    run_script(
        "import resource, errno, cmp\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "queues = []\n"
        "try:\n"
        "    while True: queues.append(cmp.Queue())\n"
        "except OSError as e: assert e.errno == errno.EMFILE\n"
        "assert len(queues) > 5\n"
        "for q in queues: q.put(1); assert q.get() == 1\n"
    )


# --- shutdown ---


def test_shutdown_lets_the_rest_be_taken(q):
    q.put(1)
    q.shutdown()
    with pytest.raises(ShutDown):
        q.put(2)
    assert q.get() == 1
    for get in (q.get, q.get_nowait, q.get_many):
        with pytest.raises(ShutDown):
            get()


def test_immediate_shutdown_throws_away_and_joins():
    q = cmp.JoinableQueue()
    q.put_many(["x" * 10_000] * 100)
    q.shutdown(immediate=True)
    q.join()
    with pytest.raises(ShutDown):
        q.get()
    assert q.qsize() == 0


def test_shutdown_ends_waits_in_other_processes(q):
    full = cmp.Queue(1)
    full.put(0)

    def wait_in(call):
        try:
            call()
        except ShutDown:
            return
        raise SystemExit(3)

    children = [
        cmp.Process(target=wait_in, args=(q.get,)),
        cmp.Process(target=wait_in, args=(lambda: full.put(1),)),
    ]
    for child in children:
        child.start()
    q.shutdown()
    full.shutdown()
    finish(*children)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="queue.ShutDown is new in 3.13")
def test_shutdown_error_is_the_stdlib_s_own():
    assert ShutDown is threads_queue.ShutDown


# --- objects and their interpreter ---


def test_no_python_frame_of_ours_beneath_a_call(q):
    frames = []
    folder = str(Path(cmp.__file__).parent)

    def profile(frame, event, arg):
        if event == "call" and frame.f_code.co_filename.startswith(folder):
            frames.append(frame.f_code)

    sys.setprofile(profile)
    try:
        for value in (1, "a", [1, {"b": 2}], b"x" * 100_000):
            q.put(value)
            q.get()
        q.put_many([1, 2])
        q.get_many()
        q.qsize(), q.empty(), q.full()
    finally:
        sys.setprofile(None)
    assert frames == []


def test_profiler_s_view_names_the_methods():
    assert cmp.queues.Queue.__module__ == "cmp.queues"
    assert cmp.queues.Queue.put.__text_signature__ == "($self, /, obj, block=True, timeout=None)"


def test_interpreter_ends_with_daemon_threads_blocked_in_get_and_put():
    done = run_script(
        "import threading, cmp\n"
        "q, full = cmp.Queue(), cmp.Queue(1)\n"
        "full.put(1)\n"
        "for call in [q.get] * 4 + [lambda: full.put(2)] * 4 + [lambda: q.get(timeout=100)] * 2:\n"
        "    threading.Thread(target=call, daemon=True).start()\n"
        "print('end')\n"
    )
    assert done.stdout == "end\n"


def test_queue_initialized_again_is_a_new_one(q):
    waiter = threading.Thread(target=wait_a_little, args=(q,))
    waiter.start()
    q.__init__(5, ctx=cmp.get_context())
    q.put(1)
    assert q.get(timeout=LONG_S) == 1
    waiter.join(LONG_S)


def wait_a_little(q):
    with contextlib.suppress(threads_queue.Empty):
        q.get(timeout=0.1)


def test_inspection_holds_what_it_inspects():
    class Fleeting:
        @property
        def _reader(self):
            return cmp.Queue()._reader

    for _ in range(20):
        assert cmp._core._health(Fleeting(), sweep=True)["whole"]
        assert cmp._core._holders(Fleeting()) == [0] * 5


class Sequence:
    """Whose items nobody else has."""

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return (object(), object()) if i else 0


@pytest.mark.parametrize("state", [Sequence(), [0, (1, 2)], 5, (), (0, (1, 2), 3)])
def test_state_that_is_no_pair_is_refused(q, state):
    with pytest.raises(TypeError):
        q.__setstate__(state)
    q.put(1)
    assert q.get() == 1
