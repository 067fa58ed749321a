"""Pool: what the standard library does, and cmp does alike."""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import pickle
import re
import threading

import pytest
from support.tasks import double, pid_of, sleep_for
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(180)


def add(x, y=0, *, z=0):
    return x + y + z


def fail_at_three(x):
    if x == 3:
        raise ValueError(x)
    return x


def fail(x):
    raise KeyError(x)


def name_of(_=None):
    import multiprocessing

    return multiprocessing.current_process().name


def is_daemon():
    import multiprocessing

    return multiprocessing.current_process().daemon


def remember(value):
    global remembered
    remembered = value


def recall(_=None):
    return remembered


def unpicklable_result():
    return lambda: 42


class Stateful:
    def __init__(self, base):
        self.base = base

    def plus(self, x):
        return self.base + x

    def __call__(self, x):
        return self.base * x


def generate(n, fail_at=None):
    for i in range(n):
        if i == fail_at:
            raise LookupError(i)
        yield i


@pytest.fixture
def pool(mp):
    with mp.Pool(3) as pool:
        yield pool
    pool.join()


def test_apply_takes_args_and_kwds(pool):
    assert pool.apply(add, (1, 2)) == 3
    assert pool.apply(add, (1,), {"y": 5, "z": 10}) == 16
    assert pool.apply(add, args=[1], kwds={"z": 1}) == 2
    assert pool.apply(func=add, args=(4,)) == 4


def test_callables_of_every_kind_run(pool):
    assert pool.apply(abs, (-3,)) == 3
    assert pool.apply(Stateful(10).plus, (1,)) == 11
    assert pool.apply(Stateful(10), (3,)) == 30
    assert pool.apply(functools.partial(add, 1, z=2), (3,)) == 6
    assert pool.apply(int, ("12",)) == 12
    assert pool.map("-".join, [["a", "b"], "cd"]) == ["a-b", "c-d"]


@pytest.mark.parametrize("chunksize", [None, 1, 2, 7, 1000])
def test_map_keeps_the_order(pool, chunksize):
    assert pool.map(double, range(100), chunksize) == [2 * i for i in range(100)]
    assert pool.starmap(add, zip(range(50), range(50), strict=True), chunksize) == [2 * i for i in range(50)]


@pytest.mark.parametrize("items", [[], (), range(0), iter([]), "abc", {1: 2, 3: 4}, {5}, (i for i in range(7))])
def test_map_takes_any_iterable(mp, items):
    items = list(items) if hasattr(items, "__next__") else items
    with mp.Pool(2) as pool:
        assert pool.map(str, items) == [str(item) for item in items]


def test_first_error_of_map_is_raised_and_the_pool_goes_on(pool):
    with pytest.raises(ValueError, match="3"):
        pool.map(fail_at_three, range(10), 1)
    assert pool.map(double, range(4)) == [0, 2, 4, 6]


def test_exception_has_the_remote_traceback_as_its_cause(mp, pool):
    with pytest.raises(KeyError) as caught:
        pool.apply(fail, (5,))
    assert type(caught.value.__cause__) is mp.pool.RemoteTraceback
    assert "raise KeyError(x)" in caught.value.__cause__.tb
    assert re.match(r'\n"""\nTraceback \(most recent call last\):\n', str(caught.value.__cause__))


def test_iterable_that_raises_raises_in_map_itself(pool):
    with pytest.raises(LookupError) as caught:
        pool.map(double, generate(10, 4))
    assert caught.value.__cause__ is None


def test_unpicklable_result_is_a_maybe_encoding_error(mp, pool):
    with pytest.raises(mp.pool.MaybeEncodingError) as caught:
        pool.apply(unpicklable_result)
    assert "lambda" in caught.value.value
    assert str(caught.value).startswith("Error sending result: '")


def test_unpicklable_argument_fails_at_get(pool):
    result = pool.apply_async(double, (threading.Lock(),))
    with pytest.raises(TypeError):
        result.get(100)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pool.map(lambda x: x, [1])


def test_result_tells_its_state(mp, pool):
    result = pool.apply_async(sleep_for, (0.2,))
    assert isinstance(result, mp.pool.AsyncResult)
    assert mp.pool.AsyncResult is mp.pool.ApplyResult
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(mp.TimeoutError):
        result.get(timeout=0.01)
    assert result.wait(0.01) is None
    assert result.get() == 0.2
    assert result.ready() and result.successful()
    assert result.get(0) == 0.2
    failed = pool.apply_async(fail, (1,))
    failed.wait()
    assert failed.ready() and not failed.successful()


def test_map_result_is_an_async_result(mp, pool):
    result = pool.map_async(double, range(10), chunksize=2)
    assert isinstance(result, mp.pool.MapResult) and isinstance(result, mp.pool.ApplyResult)
    assert result.get(100) == [2 * i for i in range(10)]
    assert result._number_left == 0


def test_callbacks_are_called_before_the_result_is_ready(pool):
    states = []
    gate = threading.Event()

    def callback(value):
        states.append((value, result.ready(), threading.current_thread() is threading.main_thread()))

    gate.set()
    result = pool.apply_async(sleep_for, (0.05,), callback=callback)
    result.wait()
    assert states == [(0.05, False, False)]


def test_error_callback_gets_the_exception_once(pool):
    errors, values = [], []
    result = pool.map_async(fail_at_three, [3, 3, 3, 1], 1, values.append, errors.append)
    result.wait()
    assert [type(error) for error in errors] == [ValueError] and values == []
    result = pool.map_async(fail_at_three, [1, 2], 1, callback=values.append, error_callback=errors.append)
    result.wait()
    assert values == [[1, 2]] and len(errors) == 1


def test_callbacks_come_in_the_order_of_completion(mp):
    with mp.Pool(1) as pool:
        order = []
        results = [pool.apply_async(double, (i,), callback=order.append) for i in range(50)]
        assert [result.get() for result in results] == order


def test_dropped_result_still_calls_back(pool):
    done = threading.Event()
    pool.apply_async(double, (1,), callback=lambda value: done.set())
    assert done.wait(100)


def test_imap_gives_results_in_order(pool):
    iterator = pool.imap(double, range(20))
    assert iter(iterator) is iterator
    assert next(iterator) == 0
    assert iterator.next() == 2
    assert iterator.next(timeout=100) == 4
    assert list(iterator) == [2 * i for i in range(3, 20)]
    with pytest.raises(StopIteration):
        next(iterator)
    with pytest.raises(StopIteration):
        iterator.next()


def test_imap_in_chunks_gives_single_items(pool):
    assert list(pool.imap(double, range(10), 3)) == [2 * i for i in range(10)]
    assert sorted(pool.imap_unordered(double, range(10), 3)) == [2 * i for i in range(10)]
    assert list(pool.imap(double, generate(10), chunksize=4)) == [2 * i for i in range(10)]


def test_imap_unordered_gives_each_result_once(pool):
    assert sorted(pool.imap_unordered(double, generate(500))) == [2 * i for i in range(500)]


@pytest.mark.parametrize("kind", ["imap", "imap_unordered"])
def test_progress_of_imap_can_be_looked_at(pool, kind):
    results = getattr(pool, kind)(double, range(50))
    wait_until(lambda: results._index == 50)  # though nobody takes them
    assert sorted(results) == [2 * i for i in range(50)]
    assert results._index == 50


def test_imap_next_times_out_and_can_be_asked_again(mp, pool):
    iterator = pool.imap(sleep_for, [0.3])
    with pytest.raises(mp.TimeoutError):
        iterator.next(timeout=0.01)
    assert iterator.next(timeout=100) == 0.3


def test_imap_takes_a_timeout_by_its_other_name(mp, pool):
    gate = threading.Event()

    def items():
        yield 1
        assert gate.wait(60)
        yield 2

    iterator = pool.imap(double, items())
    assert "timeout" in inspect.signature(iterator.__next__).parameters
    assert iterator.__next__(100) == 2
    with pytest.raises(mp.TimeoutError):
        iterator.__next__(timeout=0.01)
    gate.set()
    assert iterator.__next__() == 4
    with pytest.raises(StopIteration):
        iterator.__next__(100)


def test_imap_goes_on_after_an_exception_of_the_function(pool):
    iterator = pool.imap(fail_at_three, range(6))
    assert [next(iterator) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError):
        next(iterator)
    assert list(iterator) == [4, 5]


def test_imap_in_chunks_stops_at_an_exception(pool):
    iterator = pool.imap(fail_at_three, range(12), 2)
    assert [next(iterator) for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError):
        next(iterator)
    assert list(iterator) == []


def test_iterable_that_raises_does_so_at_its_position_of_imap(pool):
    iterator = pool.imap(double, generate(10, 4))
    assert [next(iterator) for _ in range(4)] == [0, 2, 4, 6]
    with pytest.raises(LookupError):
        next(iterator)
    with pytest.raises(StopIteration):
        next(iterator)


def test_imap_takes_an_endless_iterable(mp):
    with mp.Pool(2) as pool:
        iterator = pool.imap(double, itertools.count())
        assert list(itertools.islice(iterator, 2000)) == [2 * i for i in range(2000)]


def test_imap_wants_a_chunksize_of_at_least_one(pool):
    for method in (pool.imap, pool.imap_unordered):
        with pytest.raises(ValueError, match="Chunksize must be 1\\+, not 0"):
            method(double, [1], 0)


def test_workers_are_daemons_with_names_of_their_own(pool):
    assert pool.apply(is_daemon) is True
    assert re.fullmatch(r"ForkPoolWorker-\d+", pool.apply(name_of))
    assert all(re.fullmatch(r"ForkPoolWorker-\d+", worker.name) for worker in pool._pool)


def test_initializer_runs_in_each_worker(mp):
    with mp.Pool(2, remember, ("it",)) as pool:
        assert set(pool.map(recall, range(20), 1)) == {"it"}
    with mp.Pool(2, initializer=remember, initargs=["that"]) as pool:
        assert pool.apply(recall) == "that"


def test_worker_is_replaced_after_maxtasksperchild_chunks(mp):
    with mp.Pool(1, maxtasksperchild=2) as pool:
        pids = [pool.apply(pid_of) for _ in range(6)]
        assert pids[0] == pids[1] and pids[2] == pids[3] and pids[4] == pids[5]
        assert len(set(pids)) == 3
    with mp.Pool(1, maxtasksperchild=1) as pool:
        assert len(set(pool.map(pid_of, range(10), 10))) == 1


@pytest.mark.parametrize("processes", [0, -1])
def test_size_is_at_least_one(mp, processes):
    with pytest.raises(ValueError, match="Number of processes must be at least 1"):
        mp.Pool(processes)


@pytest.mark.parametrize("value", [0, -1, 0.5, "12"])
def test_maxtasksperchild_is_a_positive_int(mp, value):
    with pytest.raises(ValueError, match="maxtasksperchild must be a positive int or None"):
        mp.Pool(1, maxtasksperchild=value)


def test_initializer_is_callable(mp):
    with pytest.raises(TypeError, match="initializer must be a callable"):
        mp.Pool(1, initializer=3)


def test_closed_pool_takes_no_work_and_finishes_what_it_has(mp):
    pool = mp.Pool(2)
    results = [pool.apply_async(sleep_for, (0.05,)) for _ in range(6)]
    lazy = pool.imap(double, generate(30))
    with pytest.raises(ValueError, match="Pool is still running"):
        pool.join()
    pool.close()
    for call in (
        lambda: pool.apply(double, (1,)),
        lambda: pool.apply_async(double, (1,)),
        lambda: pool.map(double, [1]),
        lambda: pool.starmap_async(add, [(1, 2)]),
        lambda: pool.imap(double, [1]),
        lambda: pool.imap_unordered(double, [1]),
        lambda: pool.__enter__(),
    ):
        with pytest.raises(ValueError, match="Pool not running"):
            call()
    pool.join()
    pool.join()
    assert [result.get(0) for result in results] == [0.05] * 6
    assert list(lazy) == [2 * i for i in range(30)]


def test_with_terminates(mp):
    with mp.Pool(2) as pool:
        pool.map_async(sleep_for, [1000] * 10, 1)
    pool.join()
    with pytest.raises(ValueError, match="Pool not running"):
        pool.apply(double, (1,))


def test_repr_tells_state_and_size(mp):
    pool = mp.Pool(2)
    name = f"{mp.__name__}.pool.Pool"
    assert repr(pool) == f"<{name} state=RUN pool_size=2>"
    pool.close()
    assert repr(pool) == f"<{name} state=CLOSE pool_size=2>"
    pool.terminate()
    assert repr(pool).startswith(f"<{name} state=TERMINATE pool_size=")
    pool.join()


def test_pool_is_not_pickled(pool):
    with pytest.raises(NotImplementedError, match="pool objects cannot be passed between processes or pickled"):
        pickle.dumps(pool)


def test_chunksize_by_default_is_the_stdlibs(pool):
    result = pool.map_async(double, range(100))
    assert result._chunksize == 9  # 100 items, 3 workers, 4 chunks each
    result.get()


def test_task_that_starts_threads_or_forks_is_nobodys_concern(pool):
    assert pool.apply(fork_and_wait) == 0
    assert pool.apply(double, (1,)) == 2


def fork_and_wait():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def test_pool_in_another_process(mp):
    process = mp.Process(target=use_a_pool, args=(mp,))
    process.start()
    process.join()
    assert process.exitcode == 0


def use_a_pool(mp):
    with mp.Pool(2) as pool:
        assert pool.map(double, range(5)) == [0, 2, 4, 6, 8]


def test_thread_pool_is_the_standard_librarys(mp):
    with mp.pool.ThreadPool(2) as pool:
        assert pool.map(double, range(5)) == [0, 2, 4, 6, 8]


def test_keywords_that_are_no_mapping_fail_the_call(mp):
    with mp.Pool(1) as pool, pytest.raises(TypeError, match="must be a mapping, not int"):
        pool.apply(dict, (), 3)
