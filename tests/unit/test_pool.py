"""Pool: what cmp promises beyond the standard library, above all when workers die."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest
from support.waiting import sleeps

import cmp
from cmp.pool import MaybeEncodingError, PoolEndedError, WorkerLostError

pytestmark = pytest.mark.timeout(180)

METHODS = ["fork", "spawn", "forkserver"]


def double(x):
    return 2 * x


def pid_of(_=None):
    return os.getpid()


def exit_now(code):
    os._exit(code)


def kill_self(number):
    os.kill(os.getpid(), number)
    time.sleep(30)


def segfault():
    import ctypes
    import faulthandler

    faulthandler.disable()  # pytest's would report it at length
    ctypes.string_at(0)


def kill_self_if(x):
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def raise_error(error):
    raise error


def sleep_for(seconds):
    time.sleep(seconds)
    return seconds


def wait_for(predicate, seconds=100):
    end = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.005)


class Unreadable:
    """Pickles, and does not unpickle."""

    def __reduce__(self):
        return raise_error, (LookupError("not here"),)


class UnreadableError(Exception):
    def __init__(self, a, b):
        super().__init__(a)


def make_unreadable():
    return Unreadable()


def raise_unreadable():
    raise UnreadableError(1, 2)


@pytest.fixture(params=METHODS)
def context(request):
    return cmp.get_context(request.param)


# ---- workers that die ----


@pytest.mark.parametrize(
    "function, args, exitcode",
    [
        (exit_now, (7,), 7),
        (exit_now, (0,), 0),
        (kill_self, (signal.SIGKILL,), -signal.SIGKILL),
        (kill_self, (signal.SIGTERM,), -signal.SIGTERM),
        (segfault, (), -signal.SIGSEGV),
    ],
)
def test_task_of_a_dead_worker_fails_and_the_pool_goes_on(function, args, exitcode):
    with cmp.Pool(2) as pool:
        with pytest.raises(WorkerLostError) as caught:
            pool.apply(function, args)
        assert caught.value.exitcode == exitcode
        assert caught.value.function.endswith(function.__name__)
        assert caught.value.pid > 0
        assert caught.value.seconds >= 0
        assert pool.map(double, range(20), 1) == [2 * i for i in range(20)]


def test_each_lost_worker_is_noticed_while_its_task_would_still_run():
    with cmp.Pool(1) as pool:
        for _ in range(5):
            pid = pool.apply(pid_of)
            result = pool.apply_async(sleep_for, (30,))
            wait_for(lambda: cmp_claims(pool))
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(WorkerLostError):
                result.get(timeout=100)


def cmp_claims(pool):
    """Some worker has begun: its process sleeps in the task."""
    return any(sleeps(worker.pid) for worker in pool._pool)


def test_worker_error_pickles_and_says_what_happened():
    import pickle

    error = WorkerLostError(12, -9, double, 1.5)
    again = pickle.loads(pickle.dumps(error))
    assert (again.pid, again.exitcode, again.seconds) == (12, -9, 1.5)
    assert str(again) == str(error)
    assert "SIGKILL" in str(error) and "double" in str(error)


def test_chunk_of_a_lost_worker_fails_the_map_and_positions_of_imap():
    with cmp.Pool(2) as pool:
        with pytest.raises(WorkerLostError):
            pool.map(kill_self_if, range(10), 2)
        iterator = pool.imap(kill_self_if, range(6))
        seen = []
        for _ in range(6):
            try:
                seen.append(next(iterator))
            except WorkerLostError:
                seen.append("lost")
        assert seen == [0, 1, 2, "lost", 4, 5]
        assert next(iterator, "end") == "end"


def test_every_task_may_kill_its_worker():
    with cmp.Pool(2) as pool:
        results = [pool.apply_async(exit_now, (3,)) for _ in range(25)]
        for result in results:
            with pytest.raises(WorkerLostError):
                result.get(timeout=100)
        assert pool.apply(double, (4,)) == 8


def test_worker_killed_while_idle_costs_nothing():
    with cmp.Pool(2) as pool:
        for _ in range(10):
            pool.map(double, range(4), 1)
            victim = pool._pool[0].pid
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda v=victim: len(pool._pool) == 2 and v not in [worker.pid for worker in pool._pool])
        assert pool.map(double, range(100), 1) == [2 * i for i in range(100)]


def test_killed_at_random_every_task_has_one_outcome():
    with cmp.Pool(3) as pool:
        results = [pool.apply_async(double, (i,)) for i in range(3000)]
        for _ in range(15):
            os.kill(pool._pool[0].pid, signal.SIGKILL)
            time.sleep(0.003)
        lost = 0
        for i, result in enumerate(results):
            try:
                assert result.get(timeout=100) == 2 * i
            except WorkerLostError:
                lost += 1
        assert lost <= 15
        pool.close()
        pool.join()


def test_join_ends_after_a_lost_worker():
    pool = cmp.Pool(2)
    result = pool.apply_async(exit_now, (1,))
    pool.close()
    pool.join()
    with pytest.raises(WorkerLostError):
        result.get(timeout=0)


def test_initializer_that_always_dies_ends_in_an_error():
    began = time.monotonic()
    with cmp.Pool(2, initializer=os._exit, initargs=(5,)) as pool:
        with pytest.raises(WorkerLostError, match="exit code 5"):
            pool.map(double, range(10))
        with pytest.raises(WorkerLostError):
            pool.apply_async(double, (1,))
    assert time.monotonic() - began < 10


def test_initializer_that_raises_ends_in_an_error(capfd):
    pool = cmp.Pool(2, initializer=raise_error, initargs=(ValueError("no start"),))
    with pytest.raises(WorkerLostError, match="gave up"):
        pool.apply(double, (1,))
    pool.close()
    pool.join()
    assert "no start" in capfd.readouterr().err


def die_first(path):
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os._exit(1)


def test_one_death_in_an_initializer_is_made_good(tmp_path):
    with cmp.Pool(2, initializer=die_first, initargs=(str(tmp_path / "first"),)) as pool:
        assert pool.map(double, range(10), 1) == [2 * i for i in range(10)]


class Fateful(cmp.pool.Pool):
    """The next workers are killed, exit, or cannot be started, as `fates` says."""

    fates: list = []

    @staticmethod
    def Process(ctx, *args, **kwds):
        fate = Fateful.fates.pop(0) if Fateful.fates else None
        if isinstance(fate, Exception):
            process = ctx.Process()
            process.start = functools.partial(raise_error, fate)
            return process
        if fate is not None:
            kwds = {"target": fate, "args": (1,)}
        return ctx.Process(*args, **kwds)


def be_killed(_):
    os.kill(os.getpid(), signal.SIGKILL)


def lose_worker(pool):
    (worker,) = pool._pool
    pool.apply(pid_of)
    worker.kill()
    worker.join()


@pytest.fixture
def silent_starts(monkeypatch):
    reports = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reports.append(report.exc_type))
    yield reports
    Fateful.fates = []


@pytest.mark.parametrize(
    "fates", [[EOFError()] * 12, [be_killed] * 9 + [BrokenPipeError()], [be_killed] * 9 + [os._exit]]
)
def test_killed_workers_and_starts_that_fail_for_once_do_not_end_a_pool(fates, silent_starts):
    with Fateful(1) as pool:
        Fateful.fates = list(fates)
        lose_worker(pool)
        assert pool.apply_async(double, (2,)).get(100) == 4
    assert Fateful.fates == [] and len(silent_starts) == sum(isinstance(fate, Exception) for fate in fates)


def test_pool_whose_workers_can_never_be_started_says_so(silent_starts):
    with Fateful(1) as pool:
        Fateful.fates = [TypeError("no")] * 100
        lose_worker(pool)
        with pytest.raises(WorkerLostError, match="cannot be started"):
            pool.apply_async(double, (2,)).get(100)


@pytest.mark.parametrize("tasks", [1, 3, 40])
def test_closed_pool_starts_no_worker_in_vain(tasks):
    """Its idle workers leave while others still work: that is no reason for new ones."""
    pool = cmp.Pool(3)
    before = {worker.pid for worker in pool._pool}
    results = [pool.apply_async(sleep_for, (0.3 if number == 0 else 0.001,)) for number in range(tasks)]
    pool.close()
    seen = set()
    while not all(result.ready() for result in results):
        seen |= {child.pid for child in cmp.active_children()}
        time.sleep(0.01)
    pool.join()
    assert seen <= before
    assert {worker.pid for worker in pool._pool} == before


def test_killed_worker_in_a_callback_job_calls_the_error_callback():
    errors = []
    with cmp.Pool(1) as pool:
        result = pool.apply_async(exit_now, (1,), error_callback=errors.append)
        result.wait(100)
        assert [type(error) for error in errors] == [WorkerLostError]


def test_exception_in_a_callback_is_reported_and_the_pool_goes_on(monkeypatch):
    reports, values = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reports.append(report.exc_type))
    with cmp.Pool(1) as pool:
        assert pool.apply_async(double, (1,), callback=lambda value: 1 / 0).get(100) == 2
        assert pool.apply_async(double, (2,), callback=values.append).get(100) == 4
    assert reports == [ZeroDivisionError] and values == [4]


# ---- outcomes that cannot travel ----


def test_value_that_does_not_unpickle_fails_its_own_task():
    with cmp.Pool(1) as pool:
        results = [pool.apply_async(make_unreadable), pool.apply_async(double, (1,))]
        assert results[1].get(100) == 2
        with pytest.raises(LookupError):
            results[0].get(100)
        assert not results[0].successful()


def test_exception_that_does_not_unpickle_fails_its_own_task_with_its_traceback():
    with cmp.Pool(1) as pool:
        with pytest.raises(MaybeEncodingError) as caught:
            pool.apply(raise_unreadable)
        assert "raise UnreadableError(1, 2)" in str(caught.value.__cause__)
        assert pool.apply(double, (1,)) == 2


def test_argument_that_does_not_unpickle_fails_its_own_task():
    with cmp.Pool(1) as pool:
        pid = pool.apply(pid_of)
        with pytest.raises(LookupError):
            pool.apply(double, (Unreadable(),))
        assert pool.apply(pid_of) == pid


def test_task_that_cannot_be_pickled_fails_at_get():
    with cmp.Pool(1) as pool:
        result = pool.apply_async(double, (threading.Lock(),))
        with pytest.raises(TypeError):
            result.get(100)
        assert pool.apply(double, (1,)) == 2


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_base_exception_fails_its_task_as_an_ordinary_error(error):
    with cmp.Pool(1) as pool:
        with pytest.raises(RuntimeError, match=type(error).__name__) as caught:
            pool.apply(raise_error, (error,))
        assert "raise error" in str(caught.value.__cause__)
        assert pool.apply(double, (1,)) == 2


def return_shared(shared, other):
    return shared is other.owner


class Owner:
    owner = None

    def is_owner_of(self, other):
        return other.owner is self


def test_what_a_bound_method_shares_with_its_arguments_stays_shared():
    owner, other = Owner(), Owner()
    other.owner = owner
    with cmp.Pool(1) as pool:
        assert pool.apply(owner.is_owner_of, (other,))
        assert pool.map(owner.is_owner_of, [other], 1) == [True]


# ---- the end ----


def test_get_after_terminate_raises():
    pool = cmp.Pool(2)
    results = [pool.apply_async(sleep_for, (30,)), pool.map_async(sleep_for, [30] * 20, 1)]
    iterator = pool.imap(sleep_for, itertools.repeat(30))
    done = pool.apply_async(double, (1,))
    pool.terminate()
    pool.join()
    for result in results:
        with pytest.raises(PoolEndedError):
            result.get(timeout=5)
    with pytest.raises(PoolEndedError):
        list(iterator)
    assert done.ready()


def test_results_that_came_before_terminate_are_kept():
    pool = cmp.Pool(1)
    results = [pool.apply_async(double, (i,)) for i in range(100)]
    results[-1].wait()
    pool.terminate()
    assert [result.get(0) for result in results] == [2 * i for i in range(100)]
    pool.join()


def ignore_sigterm():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def test_workers_of_any_kind_are_ended_when_a_later_one_does_not_start():
    started = []

    class Stranger:  # with the methods of a process, and nothing that could be watched
        exitcode = None

        def __init__(self, **kwds):
            self.name = "Stranger"
            self.told = []

        def start(self):
            if len(started) == 3:
                raise OSError("no more of them")
            started.append(self)

        def terminate(self):
            self.told.append("terminate")

        def join(self):
            self.told.append("join")

    class Context:
        Process = Stranger

    with pytest.raises(OSError, match="no more of them"):
        cmp.pool.Pool(5, context=Context())
    assert [stranger.told for stranger in started] == [["terminate", "join"]] * 3


TERMINATE_WHILE_FED = """
import cmp, itertools, resource
resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))  # what goes wrong here takes all the memory there is
for taken in range(300, 2300, 50):  # the feeder thread is in the midst of it, or sleeps, or is being woken
    with cmp.Pool(2) as pool:
        assert sum(1 for _ in itertools.islice(pool.imap(abs, itertools.count()), taken)) == taken
print("ended")
"""


def test_terminate_ends_a_pool_that_is_fed_from_an_endless_iterable():
    done = subprocess.run([sys.executable, "-c", TERMINATE_WHILE_FED], capture_output=True, text=True, timeout=150)
    assert (done.stdout, done.stderr) == ("ended\n", "")


def test_endless_items_that_do_not_pickle_are_taken_no_faster_than_their_errors():
    window, pulled = 1024, 0

    def endless():
        nonlocal pulled
        for number in itertools.count(1):
            pulled = number
            yield lambda: None

    def errors_of(count):
        for _ in range(count):
            with pytest.raises((AttributeError, pickle.PicklingError)):
                next(results)

    with cmp.Pool(1) as pool:
        results = pool.imap(double, endless())
        for taken in (1, 3 * window):
            errors_of(taken)
            deadline = time.monotonic() + 20
            while pulled < window + taken and time.monotonic() < deadline:
                pool.apply(double, (1,))
            assert [pool.apply(double, (i,)) for i in range(100)] == [2 * i for i in range(100)]
            assert window <= pulled <= window + taken + 3
            errors_of(1)
    pool.join()


def test_terminate_ends_workers_that_ignore_sigterm():
    pool = cmp.Pool(2, initializer=ignore_sigterm)
    pool.map(double, range(4), 1)
    pool.map_async(sleep_for, [30, 30], 1)
    began = time.monotonic()
    pool.terminate()
    pool.join()
    assert time.monotonic() - began < 5


def test_waiter_in_another_thread_hears_of_terminate():
    pool = cmp.Pool(1)
    errors = []

    def wait():
        try:
            pool.apply(sleep_for, (30,))
        except PoolEndedError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_for(lambda: cmp_claims(pool))
    pool.terminate()
    thread.join(5)
    pool.join()
    assert len(errors) == 1


def use(pool):
    try:
        pool.apply(double, (1,))
    except RuntimeError as error:
        os._exit(0 if "forked child" in str(error) else 1)
    os._exit(2)


def test_pool_used_in_a_forked_child_is_a_clear_error():
    with cmp.Pool(1) as pool:
        process = cmp.Process(target=use, args=(pool,))
        process.start()
        process.join()
        assert process.exitcode == 0


def repeat(piece):
    return piece * 100_000  # in a block of shared memory


def drop_and_ask(result):
    with pytest.raises(RuntimeError, match="belongs to the process that made it"):
        result[0].get()
    result.clear()
    gc.collect()


def test_forked_child_leaves_its_parents_results_alone():
    with cmp.Pool(1) as pool:
        result = [pool.apply_async(repeat, (b"a",))]
        result[0].wait()
        child = cmp.Process(target=drop_and_ask, args=(result,))
        child.start()
        child.join()
        assert child.exitcode == 0
        later = pool.apply_async(repeat, (b"b",))
        later.wait()
        assert result[0].get() == repeat(b"a") and later.get() == repeat(b"b")


def make_a_pool():
    cmp.Pool(1)


def test_pool_in_a_worker_is_refused_as_in_the_standard_library():
    with cmp.Pool(1) as pool:
        with pytest.raises(AssertionError, match="daemonic processes are not allowed to have children"):
            pool.apply(make_a_pool)


def test_pool_is_collected_and_its_workers_end():
    pool = cmp.Pool(2)
    pids = pool.map(pid_of, range(2), 1)
    reference = weakref.ref(pool)
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        del pool
        gc.collect()
    assert reference() is None
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_pool_without_work_costs_no_time():
    with cmp.Pool(2) as pool:
        pool.map(double, range(10))
        time.sleep(0.1)
        pids = [os.getpid(), *(worker.pid for worker in pool._pool)]
        before = [cpu_ns(pid) for pid in pids]
        time.sleep(2)
        spent = [cpu_ns(pid) - was for pid, was in zip(pids, before, strict=True)]
        assert max(spent) < 2_000_000


def cpu_ns(pid):
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            total += int(file.read().split()[0])
    return total


def test_program_that_ends_with_a_busy_pool_ends_its_workers():
    code = """
import cmp, time, os
pool = cmp.Pool(2)
print(*pool.map(os.getpgid, [0, 0]), *(worker.pid for worker in pool._pool), flush=True)
pool.map_async(time.sleep, [60] * 4, 1)
"""
    began = time.monotonic()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert time.monotonic() - began < 10
    assert out.stderr == ""
    for pid in map(int, out.stdout.split()[2:]):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_control_c_as_a_worker_leaves_is_silent():
    code = """
import _thread, cmp
from multiprocessing import util
# So that the worker runs Python at its end, where a signal's handler would run.
with cmp.Pool(1, util.Finalize, (None, str, (), {}, 0), maxtasksperchild=1) as pool:
    assert pool.apply(_thread.interrupt_main) is None  # as a signal's handler in C does
    pool.close()
    pool.join()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")


def test_control_c_ends_the_program_without_a_storm_of_tracebacks():
    code = """
import cmp, time
ready = cmp.Barrier(4)
with cmp.Pool(3, ready.wait) as pool:
    ready.wait()
    print("ready", *(worker.pid for worker in pool._pool), flush=True)
    pool.map(time.sleep, [60], 1)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    pids = [int(pid) for pid in process.stdout.readline().split()[1:]]
    wait_for(lambda: any(sleeps(pid) for pid in pids))
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert errors.count("Traceback") <= 2  # the parent's, and the task's inside it
    assert errors.rstrip().endswith("KeyboardInterrupt")
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


# ---- start methods, and the rest ----


def test_all_start_methods_work(context):
    with context.Pool(2) as pool:
        assert pool.map(double, range(50), 3) == [2 * i for i in range(50)]
        assert list(pool.imap(double, iter(range(10)))) == [2 * i for i in range(10)]
        with pytest.raises(WorkerLostError):
            pool.apply(exit_now, (2,))
        assert pool.apply(double, (4,)) == 8


def test_buffersize_limits_what_is_taken_from_the_iterable():
    taken = []

    def items():
        for i in itertools.count():
            taken.append(i)
            yield i

    with cmp.Pool(2) as pool:
        iterator = pool.imap(double, items(), buffersize=4)
        for i in range(10):
            assert next(iterator) == 2 * i
            assert len(taken) <= i + 1 + 4
    with cmp.Pool(1) as pool, pytest.raises(ValueError):
        pool.imap(double, [], buffersize=0)


def test_close_and_join_after_part_of_a_buffered_imap():
    pool = cmp.Pool(2)
    iterator = pool.imap(double, range(1000), buffersize=2)
    assert next(iterator) == 0
    pool.close()
    pool.join()
    assert list(iterator) == [2 * i for i in range(1, 1000)]


@pytest.mark.parametrize("chunksize", [0, -1])
def test_map_wants_a_chunksize_of_at_least_one(chunksize):
    with cmp.Pool(1) as pool:
        with pytest.raises(ValueError, match=f"Chunksize must be 1\\+, not {chunksize}"):
            pool.map(abs, [-1], chunksize=chunksize)
        assert pool.map(abs, [], chunksize=chunksize) == []


def test_blocked_iterable_holds_up_nothing_else():
    gate = threading.Event()

    def items():
        yield 1
        gate.wait(100)
        yield 2

    with cmp.Pool(2) as pool:
        iterator = pool.imap(double, items())
        assert next(iterator) == 2
        done = []
        pool.apply_async(double, (5,), callback=done.append)
        wait_for(lambda: done == [10])
        with pytest.raises(WorkerLostError):
            pool.apply(exit_now, (1,))
        gate.set()
        assert list(iterator) == [4]


def test_many_threads_wait_at_once():
    with cmp.Pool(2) as pool:
        sums = []

        def work(base):
            sums.append(sum(pool.apply(double, (base + i,)) for i in range(200)))

        threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(sums) == [sum(2 * (1000 * n + i) for i in range(200)) for n in range(6)]


def test_no_python_frame_of_cmp_under_a_call():
    frames = []

    def profile(frame, event, arg):
        if event == "call" and "/cmp/" in frame.f_code.co_filename:
            frames.append(frame.f_code)

    with cmp.Pool(1) as pool:
        pool.apply(double, (1,))
        sys.setprofile(profile)
        try:
            pool.apply(double, (1,))
            pool.apply_async(double, (1,)).get()
            pool.map(double, range(3))
            list(pool.imap(double, range(3)))
        finally:
            sys.setprofile(None)
    assert frames == []


def test_large_arguments_and_results_travel():
    with cmp.Pool(2) as pool:
        blobs = [bytes([i]) * 3_000_000 for i in range(6)]
        assert pool.map(bytes, blobs, 1) == blobs
        results = [pool.apply_async(bytes, (blob,)) for blob in blobs]
        assert [result.get() for result in results] == blobs


def test_subclass_may_make_its_own_processes():
    class Plain(cmp.get_context("fork").Process):
        pass

    class MyPool(cmp.pool.Pool):
        @staticmethod
        def Process(ctx, *args, **kwds):
            return Plain(*args, **kwds)

    with MyPool(2) as pool:
        assert all(type(worker) is Plain for worker in pool._pool)
        assert pool.apply(double, (1,)) == 2


@pytest.mark.parametrize("missing", ["threading.Thread", "multiprocessing.util.Finalize"])
def test_pool_without_what_it_is_made_of_says_so_and_leaves_nothing(monkeypatch, missing):
    monkeypatch.delattr(missing)
    with pytest.raises((KeyError, RuntimeError), match=missing.rpartition(".")[2]):
        cmp.Pool(1)
