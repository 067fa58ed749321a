"""What cmp's queues promise beyond the standard library's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue as threads_queue
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path

import pytest

import cmp
from cmp.queues import ShutDown

LONG_S = 20
PACKAGE = str(Path(cmp.__file__).parent.parent)


@pytest.fixture
def q():
    return cmp.Queue()


def finish(*processes):
    for process in processes:
        process.join(LONG_S)
        assert process.exitcode == 0


def run_script(code, *, expect=0):
    environment = dict(os.environ, PYTHONPATH=PACKAGE)
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=LONG_S,
        env=environment,
    )
    assert done.returncode == expect, done.stderr
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


# --- batches ---


def test_put_many_and_get_many_carry_everything_in_order(q):
    items = [random.choice([i, str(i) * 50, b"b" * 9000, [i, None]]) for i in range(2000)]
    assert q.put_many(iter(items)) == 2000
    got = []
    while len(got) < 2000:
        batch = q.get_many(100)
        assert 1 <= len(batch) <= 100
        got += batch
    assert got == items


def test_get_many_takes_what_is_there(q):
    q.put_many(range(10))
    assert q.get_many(4) == [0, 1, 2, 3]
    assert q.get_many(max=100) == [4, 5, 6, 7, 8, 9]
    for get in (lambda: q.get_many(5, False), lambda: q.get_many(5, True, 0.01)):
        with pytest.raises(threads_queue.Empty):
            get()
    with pytest.raises(ValueError):
        q.get_many(0)


def test_get_many_waits_for_the_first_only(q):
    child = cmp.Process(target=lambda: (time.sleep(0.05), q.put("first")))
    child.start()
    assert q.get_many(5) == ["first"]
    finish(child)


def test_put_many_puts_what_fits():
    q = cmp.Queue(3)
    assert q.put_many(range(5), timeout=0.01) == 3
    with pytest.raises(threads_queue.Full):
        q.put_many(range(5), False)
    assert q.get_many(10) == [0, 1, 2]
    assert q.put_many([]) == 0


def test_put_many_stops_at_what_cannot_be_pickled(q):
    with pytest.raises(TypeError):
        q.put_many([1, 2, threading.Lock(), 3])
    assert q.get_many() == [1, 2]


def test_put_many_that_is_interrupted_says_so_whatever_it_met():
    q = cmp.Queue(1)
    q.put(0)
    interrupter = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT])
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        q.put_many([1, threading.Lock()])
    interrupter.join()
    assert q.get_many() == [0]


def test_put_many_stops_at_an_iterable_that_raises(q):
    def items():
        yield 1
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        q.put_many(items())
    assert q.get_many() == [1]


class Unpicklable:
    def __reduce__(self):
        return int, ("not a number",)


def test_get_many_hands_over_the_others_of_a_batch(q):
    q.put_many([1, Unpicklable(), 3])
    with pytest.raises(ValueError) as error:
        q.get_many()
    assert error.value.items == [1, 3]
    assert q.empty()


def interrupt():
    raise KeyboardInterrupt


class Interrupting:
    """Ctrl-C comes while it is unpickled."""

    def __reduce__(self):
        return interrupt, ()


def test_get_many_that_is_interrupted_says_so_whatever_it_met(q):
    q.put_many([1, Unpicklable(), Interrupting(), Unpicklable(), 5])
    with pytest.raises(KeyboardInterrupt) as error:
        q.get_many()
    assert error.value.items == [1, 5]


def test_joinable_batches_count():
    q = cmp.JoinableQueue()
    q.put_many(range(3))
    q.get_many()
    for _ in range(3):
        q.task_done()
    q.join()
    with pytest.raises(ValueError):
        q.task_done()


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


# --- the seams ---


def test_asyncio_waits_for_the_reader(q):
    async def main():
        loop, seen = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(q._reader, seen.set)
        child = cmp.Process(target=q.put, args=(5,))
        child.start()
        await asyncio.wait_for(seen.wait(), LONG_S)
        loop.remove_reader(q._reader)
        assert q.get_nowait() == 5
        await asyncio.to_thread(child.join)

    asyncio.run(main())


def announce_in_vain(queue) -> None:
    """What a producer leaves that is killed between telling of its item and publishing it."""
    os.write(queue._reader.fileno(), (1).to_bytes(8, sys.byteorder))
    assert wait([queue._reader], 0)


@pytest.mark.parametrize(
    "look", [lambda q: q.empty(), lambda q: not q._reader.poll(), lambda q: raises_empty(q.get_nowait)]
)
def test_whoever_waits_for_the_descriptor_and_looks_in_vain_can_wait_again(look):
    queue = cmp.Queue()
    announce_in_vain(queue)
    assert look(queue)
    assert not wait([queue._reader], 0)
    queue.put(1)
    assert wait([queue._reader], 0)
    assert queue._reader.recv() == 1


def raises_empty(get) -> bool:
    with pytest.raises(threads_queue.Empty):
        get()
    return True


def test_recv_of_what_a_killed_producer_announced_is_eoferror():
    """As from a pipe whose writer was killed within a message: the executors of the stdlib then know that it broke."""
    queue = cmp.Queue()
    announce_in_vain(queue)
    with pytest.raises(EOFError):
        queue._reader.recv()
    queue.put(1)
    assert queue._reader.recv() == 1


def test_reader_is_never_raised_in_vain():
    """One reader that selects and then receives without a timeout never hangs, whatever the producers do."""
    q = cmp.SimpleQueue()
    producers = [cmp.Process(target=lambda: [q.put(i) for i in range(2000)]) for _ in range(2)]
    reader = q._reader
    reader.fileno()  # armed before the children put
    for producer in producers:
        producer.start()
    for _ in range(4000):
        assert wait([reader], LONG_S)
        reader.recv()
    assert not wait([reader], 0)
    finish(*producers)


def test_executor_of_the_stdlib_works_on_our_queues(monkeypatch):
    import concurrent.futures.process as executor

    monkeypatch.setattr(executor, "_SafeQueue", rebased(executor._SafeQueue))
    with ProcessPoolExecutor(2, mp_context=cmp.get_context("fork")) as pool:
        assert list(pool.map(abs, range(-50, 0), chunksize=3)) == list(range(50, 0, -1))
        bad = pool.submit(abs, threading.Lock())
        with pytest.raises(TypeError, match="pickle"):
            bad.result(LONG_S)
        assert pool.submit(abs, -7).result(LONG_S) == 7


def rebased(kind):
    """The executor's own class of queue, with ours as its base. Its __init__ names its base in super()."""

    def __init__(self, max_size=0, *, ctx, **attributes):
        vars(self).update(attributes)
        cmp.queues.Queue.__init__(self, max_size, ctx=ctx)

    hook = kind._on_queue_feeder_error
    return type(kind.__name__, (cmp.queues.Queue,), {"__init__": __init__, "_on_queue_feeder_error": hook})


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


# --- kills ---


@pytest.mark.parametrize("size", [8, 50_000])
def test_killed_takers_lose_at_most_one_item_each(q, size):
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    results = cmp.SimpleQueue()

    def take():
        while True:
            item = q.get()
            results.put(item[0])

    kills, n = 12, 3000
    takers = [cmp.Process(target=take, daemon=True) for _ in range(2)]
    for taker in takers:
        taker.start()
    seen = []

    def drain():
        while not results.empty():
            seen.append(results.get())

    for i in range(n):
        q.put((i, b"x" * size))
        if i % (n // kills) == 100:
            victim = chance.randrange(2)
            time.sleep(chance.random() * 0.002)
            takers[victim].kill()
            takers[victim].join()
            takers[victim] = cmp.Process(target=take, daemon=True)
            takers[victim].start()
        drain()
    q.put((n, b""))
    deadline = time.monotonic() + LONG_S
    while not q.empty():
        drain()
        assert time.monotonic() < deadline
    for taker in takers:
        taker.kill()
        taker.join()
    drain()
    assert len(set(seen)) == len(seen)
    assert n + 1 - len(seen) <= kills + 3


def test_killed_producers_leave_every_item_put_and_in_order(q):
    told = [cmp.RawValue("q", 0) for _ in range(10)]
    taken = {}
    for victim in range(10):

        def produce(victim=victim):
            for i in range(10**9):
                q.put((victim, i, b"y" * (i % 7 * 1500)))
                told[victim].value = i + 1

        child = cmp.Process(target=produce, daemon=True)
        child.start()
        time.sleep(0.02)
        child.kill()
        child.join()
        while not q.empty():
            who, i, _ = q.get(timeout=LONG_S)
            assert taken.get(who, -1) == i - 1
            taken[who] = i
        assert told[victim].value <= taken.get(victim, -1) + 1 <= told[victim].value + 1
    q.put("still whole")
    assert q.get() == "still whole"


def test_stopped_process_does_not_stop_ctrl_c_or_timeouts(q):
    child = cmp.Process(target=lambda: [q.put(1) for _ in iter(int, 1)], daemon=True)
    child.start()
    for _ in range(20):
        os.kill(child.pid, signal.SIGSTOP)
        try:
            q.put(2, timeout=0.1)
        except threads_queue.Full:
            pass
        os.kill(child.pid, signal.SIGCONT)
        q.get(timeout=LONG_S)
    child.kill()
    child.join()


# --- threads, forks, the end ---


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


def test_fork_in_the_middle_of_other_threads_puts_and_gets():
    there, back = cmp.Queue(), cmp.Queue()
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            there.put(b"z" * 6000)
            there.get()

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    children = []
    for i in range(20):
        child = cmp.Process(target=lambda i=i: [back.put((i, b"x" * 5000 * k)) for k in range(5)])
        child.start()
        children.append(child)
    got = [back.get(timeout=LONG_S) for _ in range(100)]
    stop.set()
    for thread in threads:
        thread.join(LONG_S)
    finish(*children)
    assert sorted((i, len(x)) for i, x in got) == sorted((i, 5000 * k) for i in range(20) for k in range(5))


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


def test_finalizer_may_use_the_queue_that_runs_it(q):
    class Nosy:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            q.put("from a finalizer")

    for _ in range(2000):
        Nosy()
        q.put([{}] * 3)
        while q.qsize() > 50:
            q.get()


def test_idle_waiter_costs_next_to_nothing(q):
    child = cmp.Process(target=q.get)
    child.start()
    time.sleep(0.3)
    before = cpu_ticks(child.pid)
    time.sleep(2)
    assert cpu_ticks(child.pid) - before <= 1  # 10 ms each: the coarsest this clock can say
    q.put(None)
    finish(child)


def cpu_ticks(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


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
