"""What the notes say about pools, and about the manager's queue in them: each statement is a test."""

import os
import queue
import time

import pytest

PATIENCE_S = 100


@pytest.fixture
def make_pool(mp):
    made = []

    def make(*args, **kwargs):
        made.append(mp.Pool(*args, **kwargs))
        return made[-1]

    yield make
    for pool in made:
        pool.terminate()
        pool.join()
    made.clear()


@pytest.fixture
def three(make_pool):
    return make_pool(3)


@pytest.fixture
def managed_queue(mp):
    """managed_queue(maxsize) is the Queue of a manager of its own."""
    managers = []

    def make(*maxsize):
        managers.append(mp.Manager())
        return managers[-1].Queue(*maxsize)

    yield make
    for manager in managers:
        manager.shutdown()
    managers.clear()


def pid_after(seconds):
    time.sleep(seconds)
    return os.getpid()


def span(seconds):
    began = time.monotonic()
    time.sleep(seconds)
    return began, time.monotonic()


def arguments(*args, **kwargs):
    return args, kwargs


def fail(text):
    raise ValueError(text)


def put_into(q, item):
    q.put(item)


# Processes of the pool


def test_a_task_runs_in_another_process(three):
    assert three.apply_async(os.getpid).get(PATIENCE_S) != os.getpid()


def test_no_more_processes_than_asked_for(three):
    results = [three.apply_async(pid_after, (0.02,)) for n in range(15)]
    assert len({result.get(PATIENCE_S) for result in results}) <= 3


def test_its_processes_do_several_tasks_each(make_pool):
    pool = make_pool(2)
    pids = [pool.apply(os.getpid) for n in range(20)]
    assert len(set(pids)) <= 2


def test_as_many_tasks_at_once_as_processes_and_the_next_waits(three):
    """At no moment are four tasks running; with nine tasks three do run at once."""
    spans = [result.get(PATIENCE_S) for result in [three.apply_async(span, (0.2,)) for n in range(9)]]
    at_once = [sum(began <= moment < ended for began, ended in spans) for moment, _ in spans]
    assert max(at_once) == 3


def test_more_processes_than_tasks_are_no_harm(make_pool):
    pool = make_pool(6)
    assert pool.apply_async(sum, ((1, 2),)).get(PATIENCE_S) == 3


def test_the_default_size_is_counted_from_the_cores(mp, make_pool):
    assert make_pool()._processes == len(os.sched_getaffinity(0)) == mp.cpu_count()


def test_the_size_is_at_least_one(mp):
    with pytest.raises(ValueError, match="Number of processes must be at least 1"):
        mp.Pool(0)


# Handing in tasks


def test_apply_async_takes_positional_and_named_arguments(three):
    assert three.apply_async(arguments, (1, 2), {"k": 3}).get(PATIENCE_S) == ((1, 2), {"k": 3})
    assert three.apply_async(func=arguments, args=(1,), kwds={}).get(PATIENCE_S) == ((1,), {})


def test_apply_async_does_not_wait(three):
    result = three.apply_async(pid_after, (1,))
    assert not result.ready()
    result.get(PATIENCE_S)


def test_apply_async_returns_an_object_that_tells_the_outcome(mp, three):
    result = three.apply_async(pow, (2, 5))
    assert result.get(PATIENCE_S) == 32
    assert result.ready() and result.successful() and result.wait(0) is None
    assert type(result).__name__ == "ApplyResult"


def test_get_with_a_timeout_raises_while_the_task_runs(mp, three):
    result = three.apply_async(pid_after, (0.5,))
    with pytest.raises(mp.TimeoutError):
        result.get(0.05)
    assert result.get(PATIENCE_S)


def test_tasks_are_taken_in_order(make_pool):
    spans = make_pool(1).map(span, [0.01] * 6)
    assert spans == sorted(spans)


# Closing, joining, ending


def test_a_closed_pool_takes_no_task(three):
    three.close()
    with pytest.raises(ValueError, match="Pool not running"):
        three.apply_async(os.getpid)


def test_a_closed_pool_finishes_what_it_has(three):
    results = [three.apply_async(pow, (n, 2)) for n in range(30)]
    three.close()
    assert [result.get(PATIENCE_S) for result in results] == [n * n for n in range(30)]


def test_join_comes_after_close(three):
    with pytest.raises(ValueError, match="Pool is still running"):
        three.join()


def test_join_waits_for_every_task(three):
    results = [three.apply_async(pid_after, (0.1,)) for n in range(6)]
    three.close()
    three.join()
    assert all(result.ready() for result in results)


def test_join_ends_the_processes(mp, make_pool):
    pool = make_pool(2)
    pids = {pool.apply(os.getpid) for n in range(10)}
    pool.close()
    pool.join()
    assert not pids & {process.pid for process in mp.active_children()}
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_main_process_that_does_not_join_ends_at_once_and_its_tasks_with_it(program):
    ended = program("""\
import multiprocessing, os, time
def work(n):
    time.sleep(1000)
    print("task", n, flush=True)
pool = multiprocessing.Pool(2)
for n in range(3):
    pool.apply_async(work, (n,))
pool.close()
print("main ends")
""").check()
    assert ended.stdout == "main ends\n"


def test_a_loop_that_waits_for_the_results_does_as_well_as_join(program):
    ended = program("""\
import multiprocessing
pool = multiprocessing.Pool(2)
waiting = [pool.apply_async(pow, (n, 2)) for n in range(10)]
done = []
while len(done) < 10:
    done.append(waiting[len(done)].get())
print(done)
""").check()
    assert ended.stdout == "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]\n"


def test_a_pool_at_the_top_of_a_script_needs_no_main_guard(program):
    ended = program("""\
import multiprocessing
def double(x):
    return 2 * x
pool = multiprocessing.Pool(2)
print(pool.map(double, range(5)))
pool.close()
pool.join()
""").check()
    assert ended.stdout == "[0, 2, 4, 6, 8]\n"


def test_the_with_statement_ends_a_pool(mp):
    with mp.Pool(2) as pool:
        assert pool.apply(abs, (-1,)) == 1
    with pytest.raises(ValueError, match="Pool not running"):
        pool.apply(abs, (-1,))
    pool.join()


# Errors


def test_an_error_in_a_task_is_silent(program):
    ended = program("""\
import multiprocessing
def fail():
    raise ValueError("unseen")
pool = multiprocessing.Pool(2)
pool.apply_async(fail)
pool.close()
pool.join()
print("end")
""").check()
    assert ended.stdout == "end\n" and ended.stderr == ""


def test_get_raises_the_error_of_its_task(three):
    result = three.apply_async(fail, ("told by get",))
    with pytest.raises(ValueError, match="^told by get$"):
        result.get(PATIENCE_S)
    assert result.ready() and not result.successful()


def test_the_error_shows_where_it_happened_in_the_worker(three):
    with pytest.raises(ValueError) as raised:
        three.apply(fail, ("remote",))
    assert "raise ValueError(text)" in str(raised.value.__cause__)


def test_one_failed_task_does_not_touch_the_others(three):
    results = [three.apply_async(int, (text,)) for text in ("1", "x", "3")]
    assert results[0].get(PATIENCE_S) == 1 and results[2].get(PATIENCE_S) == 3
    with pytest.raises(ValueError):
        results[1].get(PATIENCE_S)


# Queues and pools


def test_a_plain_queue_as_an_argument_is_refused_in_these_words(mp, three):
    q = mp.Queue()
    result = three.apply_async(put_into, (q, 1))
    with pytest.raises(RuntimeError) as raised:
        result.get(PATIENCE_S)
    assert str(raised.value) == "Queue objects should only be shared between processes through inheritance"
    q.close()


def test_a_plain_queue_as_an_argument_is_silent_until_get(program):
    ended = program("""\
import multiprocessing
q = multiprocessing.Queue()
pool = multiprocessing.Pool(2)
pool.apply_async(q.put, (1,))
pool.close()
pool.join()
print("end", q.empty())
""").check()
    assert ended.stdout == "end True\n" and ended.stderr == ""


def test_a_managers_queue_goes_to_the_workers(three, managed_queue):
    q = managed_queue()
    for n in range(10):
        three.apply_async(put_into, (q, n))
    assert sorted(q.get(timeout=PATIENCE_S) for n in range(10)) == list(range(10))


def test_a_managers_queue_may_be_younger_than_the_pool(three, managed_queue):
    three.apply(os.getpid)
    q = managed_queue()
    three.apply(put_into, (q, "late"))
    assert q.get(timeout=PATIENCE_S) == "late"


def test_a_managers_queue_goes_to_a_process_as_well(managed_queue, child):
    q = managed_queue()
    child(put_into, q, "from a process").end()
    assert q.get(timeout=PATIENCE_S) == "from a process"


def test_a_managers_queue_has_a_size_too(managed_queue):
    q = managed_queue(2)
    q.put(1)
    assert (q.full(), q.empty(), q.qsize()) == (False, False, 1)
    q.put(2)
    assert (q.full(), q.empty(), q.qsize()) == (True, False, 2)
    with pytest.raises(queue.Full):
        q.put_nowait(3)
    with pytest.raises(queue.Full):
        q.put(3, True, 0.05)
    assert [q.get(), q.get_nowait()] == [1, 2]
    with pytest.raises(queue.Empty):
        q.get_nowait()
    with pytest.raises(queue.Empty):
        q.get(timeout=0.05)


def test_a_managers_queue_makes_get_wait(managed_queue, child):
    q = managed_queue()
    getting = child(q.get)
    assert not getting.reports_within(0.2)
    q.put("now")
    assert getting.end() == "now"


def test_printing_a_managers_queue_shows_a_queue_of_threads(managed_queue):
    assert str(managed_queue()).startswith("<queue.Queue object at 0x")


def test_printing_a_pool_shows_state_and_size(mp, three):
    module = "cmp" if mp.__name__ == "cmp" else "multiprocessing"
    shown = [repr(three)]
    three.close()
    shown.append(repr(three))
    three.terminate()
    shown.append(repr(three))
    states = [f"<{module}.pool.Pool state={state} pool_size=3>" for state in ("RUN", "CLOSE", "TERMINATE")]
    assert shown == states


def test_a_loop_over_the_managers_queue_counts_finished_tasks(program):
    """The progress display of the notes: nobody joins, the main process counts what has arrived."""
    ended = program("""\
import multiprocessing
def work(q, n):
    q.put(n)
pool = multiprocessing.Pool(2)
q = multiprocessing.Manager().Queue(0)
for n in range(8):
    pool.apply_async(work, (q, n))
pool.close()
for n in range(8):
    q.get()
    print("\\r%.1f %%" % ((n + 1) * 100 / 8), end="")
print()
""").check()
    assert ended.stdout.endswith("\r87.5 %\r100.0 %\n") and ended.stderr == ""
