"""Queue, JoinableQueue and SimpleQueue as the standard library has them; each test runs on both."""

from __future__ import annotations

import gc
import multiprocessing.queues
import os
import pickle
import queue as threads_queue
import signal
import sys
import threading
import time
import traceback
import weakref

import pytest
from support.waiting import LONG_S, SHORT_S, finish, wait_until


@pytest.fixture(params=["Queue", "JoinableQueue"])
def make(request, mp):
    """Makes a queue, of either kind that has a size."""
    return getattr(mp, request.param)


# --- one process ---


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1, 2**63, 2**64, 1.5, "", "ä€😀", b"", b"x" * 70000, (), (1, (2, 3)), [1, [2]], {"a": {1: 2}},
     {1, 2}, frozenset([3]), range(5), 1 + 2j, Ellipsis, "s" * 5000],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_value_arrives_as_it_was_put(make, value):
    q = make()
    q.put(value)
    got = q.get(timeout=LONG_S)
    assert got == value and type(got) is type(value)


def test_objects_come_out_in_order(make):
    q = make()
    for i in range(100):
        q.put(i)
    assert [q.get(timeout=LONG_S) for _ in range(100)] == list(range(100))


def test_arguments_may_be_keywords(make):
    q = make(maxsize=2)
    q.put(obj=1, block=True, timeout=None)
    q.put(obj=2, block=False, timeout=5)
    assert q.get(block=True, timeout=LONG_S) == 1
    assert q.get(True, LONG_S) == 2


@pytest.mark.parametrize("call", ["q.put()", "q.put(1, True, None, 4)", "q.put(1, nonsense=2)", "q.put(1, obj=2)",
                                  "q.get(True, None, 3)", "q.get(nonsense=1)", "q.put_nowait()", "q.get_nowait(1)",
                                  "q.qsize(1)"])  # fmt: skip
def test_wrong_arguments_are_a_type_error(make, call):
    with pytest.raises(TypeError):
        eval(call, {"q": make()})


def test_class_needs_a_context(mp):
    for name in ("Queue", "JoinableQueue", "SimpleQueue"):
        with pytest.raises(TypeError, match=r"__init__\(\) missing 1 required keyword-only argument: 'ctx'"):
            getattr(mp.queues, name)()


@pytest.mark.parametrize("maxsize", [0, -1, -100])
def test_queue_without_size_is_never_full(make, maxsize):
    q = make(maxsize)
    for i in range(50):
        q.put_nowait(i)
    assert not q.full()
    for _ in range(50):
        q.get(timeout=LONG_S)


def test_full_queue_raises_full(make):
    q = make(2)
    q.put(1)
    q.put(2)
    assert q.full() and q.qsize() == 2
    for put in (lambda: q.put(3, False), lambda: q.put_nowait(3), lambda: q.put(3, timeout=0.01),
                lambda: q.put(3, True, 0), lambda: q.put(3, timeout=-1)):  # fmt: skip
        with pytest.raises(threads_queue.Full):
            put()
    assert q.get(timeout=LONG_S) == 1
    q.put(3, timeout=LONG_S)
    assert [q.get(timeout=LONG_S), q.get(timeout=LONG_S)] == [2, 3]


def test_empty_queue_raises_empty(make):
    q = make()
    assert q.empty() and q.qsize() == 0
    for get in (lambda: q.get(False), q.get_nowait, lambda: q.get(True, 0.01), lambda: q.get(timeout=0),
                lambda: q.get(timeout=-1), lambda: q.get(block=False, timeout=5)):  # fmt: skip
        with pytest.raises(threads_queue.Empty):
            get()


def test_timeout_lasts_as_long_as_asked(make):
    q = make(1)
    before = time.monotonic()
    with pytest.raises(threads_queue.Empty):
        q.get(timeout=SHORT_S)
    assert SHORT_S <= time.monotonic() - before
    q.put(1)
    before = time.monotonic()
    with pytest.raises(threads_queue.Full):
        q.put(2, timeout=SHORT_S)
    assert SHORT_S <= time.monotonic() - before


@pytest.mark.parametrize("timeout", ["1", [], object()])
def test_timeout_has_to_be_a_number(make, timeout):
    with pytest.raises(TypeError):
        make().get(True, timeout)


def test_get_of_an_object_that_does_not_unpickle_consumes_it(make):
    q = make()
    q.put(FailsToUnpickle())
    q.put("next")
    with pytest.raises(ZeroDivisionError):
        q.get(timeout=LONG_S)
    assert q.get(timeout=LONG_S) == "next"
    assert q.qsize() == 0


class FailsToUnpickle:
    def __reduce__(self):
        return divide, (1, 0)


def divide(a, b):
    return a / b


def test_object_with_its_own_reduction_arrives(make):
    q = make()
    q.put(Point(3, 4))
    point = q.get(timeout=LONG_S)
    assert (point.x, point.y) == (3, 4)


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return (self.x, self.y) == (other.x, other.y)


def test_identity_and_cycles_within_an_object_are_kept(make):
    q = make()
    shared = [1]
    value = [shared, shared]
    value.append(value)
    q.put(value)
    got = q.get(timeout=LONG_S)
    assert got[0] is got[1] and got[2] is got


def test_nothing_that_was_sent_is_kept_alive(make):
    q = make()
    point = Point(1, 2)
    gone = weakref.ref(point)
    q.put([point])
    arrived = q.get(timeout=LONG_S)[0]
    gone_too = weakref.ref(arrived)
    del point, arrived
    wait_until(lambda: gone() is None and gone_too() is None)


# --- closing ---


def test_closed_queue_refuses_put_and_get(make):
    q = make()
    q.close()
    for call in (lambda: q.put(1), lambda: q.get(), lambda: q.put_nowait(1), lambda: q.get_nowait()):
        with pytest.raises(ValueError, match="is closed"):
            call()
    q.close()
    q.join_thread()


def test_close_is_this_process_s_own(make, mp):
    q = make()
    child = mp.Process(target=close_and_end, args=(q,))
    child.start()
    finish(child)
    q.put(1)
    assert q.get(timeout=LONG_S) == 1


def close_and_end(q):
    q.close()
    q.join_thread()


def test_join_thread_before_close_is_an_assertion(make):
    q = make()
    with pytest.raises(AssertionError, match="not closed"):
        q.join_thread()
    q.cancel_join_thread()
    q.close()
    q.join_thread()


def test_used_and_closed_queue_cannot_say_whether_it_is_empty(make):
    unused, used = make(), make()
    unused.close()
    unused.join_thread()
    assert unused.empty()
    used.put("foo")
    used.close()
    used.join_thread()
    with pytest.raises(OSError, match="is closed"):
        used.empty()


# --- what it is ---


def test_plain_queue_does_not_pickle(mp):
    for q in (mp.Queue(), mp.JoinableQueue(), mp.SimpleQueue()):
        with pytest.raises(RuntimeError) as error:
            pickle.dumps(q)
        assert str(error.value) == (
            f"{type(q).__name__} objects should only be shared between processes through inheritance"
        )


def test_queue_in_a_simple_queue_is_the_same_error(mp):
    with pytest.raises(RuntimeError, match="through inheritance"):
        mp.SimpleQueue().put(mp.Queue())


def test_classes_take_subscripts(mp):
    for name in ("Queue", "JoinableQueue", "SimpleQueue"):
        kind = getattr(mp.queues, name)
        if hasattr(getattr(multiprocessing.queues, name), "__class_getitem__"):  # SimpleQueue; from 3.12 on all
            assert kind[int].__origin__ is kind


def test_kinds_are_related_as_documented(mp):
    assert issubclass(mp.queues.JoinableQueue, mp.queues.Queue)
    assert not issubclass(mp.queues.SimpleQueue, mp.queues.Queue)
    assert isinstance(mp.Queue(), mp.queues.Queue)
    assert repr(mp.Queue()).startswith(f"<{mp.queues.Queue.__module__}.Queue object at 0x")


def test_queue_may_be_weakly_referred_to_and_has_attributes(make):
    q = make()
    reference = weakref.ref(q)
    q.anything = 1
    assert reference() is q and q.anything == 1
    del q
    gc.collect()
    assert reference() is None


def test_subclass_in_python_works(mp):
    class Counting(mp.queues.Queue):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.puts = 0

        def put(self, obj, block=True, timeout=None):
            self.puts += 1
            super().put(obj, block, timeout)

    q = Counting(3, ctx=mp.get_context())
    q.put(1)
    q.put(2)
    assert q.puts == 2 and q.get(timeout=LONG_S) == 1 and q.get(timeout=LONG_S) == 2


def test_subclass_that_forgot_to_initialize_raises(mp):
    class Forgetful(mp.queues.Queue):
        def __init__(self):
            pass

    q = Forgetful()
    for name in ("put", "get", "qsize", "empty", "full"):
        with pytest.raises((AttributeError, ValueError)):
            getattr(q, name)(*[1][: name == "put"])


def test_hook_for_pickling_errors_is_called(mp):
    seen = []

    class Hooked(mp.queues.Queue):
        def _on_queue_feeder_error(self, e, obj):
            seen.append((type(e), obj))

    q = Hooked(ctx=mp.get_context())
    bad = threading.Lock()
    q.put(bad)
    q.put("good")
    assert q.get(timeout=LONG_S) == "good"
    wait_until(lambda: seen)
    assert seen == [(TypeError, bad)]
    assert q.qsize() == 0
    q.close()
    q.join_thread()


class FailsToPickle:
    def __reduce__(self):
        raise TypeError("no")


def test_an_error_that_the_hook_keeps_keeps_nothing_of_who_put(mp):
    errors = []

    class Hooked(mp.queues.Queue):
        def _on_queue_feeder_error(self, e, obj):
            errors.append((e, "no" in "".join(traceback.format_exception(type(e), e, e.__traceback__))))

    q = Hooked(ctx=mp.get_context())

    def put():
        mine = threading.Event()
        q.put(FailsToPickle())
        return weakref.ref(mine)

    mine = put()
    wait_until(lambda: errors)
    assert mine() is None
    assert errors[0][1] is True
    q.close()
    q.join_thread()


def test_executor_s_switch_is_there(mp):
    q = mp.Queue()
    assert q._ignore_epipe is False
    q._ignore_epipe = True
    assert q._ignore_epipe is True
    assert not hasattr(q, "_terminate_broken") or q._terminate_broken() is None


# --- between processes ---


def echo(q_in, q_out):
    for item in iter(q_in.get, None):
        q_out.put(item)


def test_items_go_there_and_back(make, mp):
    there, back = make(), make()
    child = mp.Process(target=echo, args=(there, back))
    child.start()
    for i in range(300):
        there.put((i, "x" * i))
    assert [back.get(timeout=LONG_S) for _ in range(300)] == [(i, "x" * i) for i in range(300)]
    there.put(None)
    finish(child)


def put_range(q, start, stop):
    for i in range(start, stop):
        q.put(i)


def take_until_none(q, results):
    taken = list(iter(q.get, None))
    results.put(taken)


@pytest.mark.parametrize("maxsize", [0, 1, 10])
def test_many_producers_and_takers_get_each_item_once_and_in_order(make, mp, maxsize):
    q, results = make(maxsize), mp.Queue()
    takers = [mp.Process(target=take_until_none, args=(q, results)) for _ in range(3)]
    producers = [mp.Process(target=put_range, args=(q, 1000 * i, 1000 * i + 200)) for i in range(3)]
    for process in takers + producers:
        process.start()
    finish(*producers)
    for _ in takers:
        q.put(None)
    lists = [results.get(timeout=LONG_S) for _ in takers]
    finish(*takers)
    everything = [1000 * i + k for i in range(3) for k in range(200)]
    assert sorted(item for taken in lists for item in taken) == everything
    for taken in lists:
        for i in range(3):
            mine = [item for item in taken if item // 1000 == i]
            assert mine == sorted(mine)


def test_put_waits_for_room_that_another_process_makes(make, mp):
    q, done = make(1), mp.Event()
    q.put(0)
    child = mp.Process(target=put_then_set, args=(q, done))
    child.start()
    assert not done.wait(SHORT_S)
    assert q.get(timeout=LONG_S) == 0
    assert done.wait(LONG_S)
    assert q.get(timeout=LONG_S) == 1
    finish(child)


def put_then_set(q, done):
    q.put(1)
    done.set()


def test_queue_works_in_a_grandchild(make, mp):
    q = make()
    child = mp.Process(target=start_grandchild, args=(mp, q))
    child.start()
    assert q.get(timeout=LONG_S) == "from the grandchild"
    finish(child)


def start_grandchild(mp, q):
    grandchild = mp.Process(target=q.put, args=("from the grandchild",))
    grandchild.start()
    grandchild.join()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_queue_travels_to_a_spawned_child(mp, method):
    context = mp.get_context(method)
    q, back, simple = context.Queue(2), context.JoinableQueue(), context.SimpleQueue()
    child = context.Process(target=echo_three, args=(q, back, simple))
    child.start()
    q.put("a")
    assert back.get(timeout=LONG_S) == "a"
    assert simple.get() == 2
    child.join(LONG_S)
    assert child.exitcode == 0


@pytest.mark.skipif(sys.version_info < (3, 11, 5), reason="the stdlib refuses since then")
@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_queue_of_a_fork_context_does_not_go_to_a_spawned_child(mp, kind):
    q = getattr(mp.get_context("fork"), kind)()
    child = mp.get_context("spawn").Process(target=print, args=(q,))
    with pytest.raises(RuntimeError, match="A SemLock created in a fork context is being shared"):
        child.start()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_queue_of_another_context_goes_to_a_forked_child(mp, method):
    q = mp.get_context(method).Queue()
    child = mp.get_context("fork").Process(target=q.put, args=(1,))
    child.start()
    assert q.get(timeout=LONG_S) == 1
    finish(child)


def echo_three(q, back, simple):
    back.put(q.get(timeout=LONG_S))
    simple.put(2)


def test_threads_share_a_queue(make):
    q = make(5)
    got = []
    takers = [threading.Thread(target=lambda: got.extend(iter(q.get, None))) for _ in range(3)]
    putters = [threading.Thread(target=put_range, args=(q, 100 * i, 100 * i + 100)) for i in range(3)]
    for thread in takers + putters:
        thread.start()
    for thread in putters:
        thread.join(LONG_S)
    for _ in takers:
        q.put(None)
    for thread in takers:
        thread.join(LONG_S)
    assert sorted(got) == list(range(300))


# --- signals ---


def wait_in_get(q, ready):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        ready.put("going to wait")
        q.get()
    except KeyboardInterrupt:
        ready.put("interrupted")


def test_ctrl_c_ends_a_blocked_get_and_eats_no_item(make, mp):
    q, ready = make(), mp.Queue()
    child = mp.Process(target=wait_in_get, args=(q, ready))
    child.start()
    assert ready.get(timeout=LONG_S) == "going to wait"
    time.sleep(SHORT_S)  # so that it sleeps; should it not yet, the claim is the same
    os.kill(child.pid, signal.SIGINT)
    assert ready.get(timeout=LONG_S) == "interrupted"
    finish(child)
    q.put(1)
    assert q.get(timeout=LONG_S) == 1


def test_handler_runs_while_get_waits_and_get_goes_on(make):
    q, ran = make(), []

    def handler(number, frame):
        ran.append(number)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        started = time.monotonic()
        with pytest.raises(threads_queue.Empty):
            q.get(timeout=0.3)
        assert ran == [signal.SIGALRM] and time.monotonic() - started >= 0.3
    finally:
        signal.signal(signal.SIGALRM, before)


# --- JoinableQueue ---


def test_task_done_too_often_is_a_value_error(mp):
    q = mp.JoinableQueue()
    with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
        q.task_done()
    q.put(1)
    q.get(timeout=LONG_S)
    q.task_done()
    with pytest.raises(ValueError):
        q.task_done()


def work(q):
    for _ in iter(q.get, None):
        q.task_done()
    q.task_done()


def test_join_returns_when_all_is_done(mp):
    q = mp.JoinableQueue()
    q.join()
    workers = [mp.Process(target=work, args=(q,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for i in range(40):
        q.put(i)
    q.join()
    assert q.empty()
    for _ in workers:
        q.put(None)
    q.join()
    finish(*workers)


def take_and_die(q):
    q.get()
    os.kill(os.getpid(), signal.SIGKILL)


def test_item_whose_taker_died_keeps_join_waiting(mp):
    q = mp.JoinableQueue()
    q.put(1)
    child = mp.Process(target=take_and_die, args=(q,))
    child.start()
    child.join(LONG_S)
    joined = threading.Event()
    thread = threading.Thread(target=lambda: (q.join(), joined.set()))
    thread.start()
    assert not joined.wait(SHORT_S)
    q.task_done()
    assert joined.wait(LONG_S)
    thread.join(LONG_S)


def test_join_waits(mp):
    q = mp.JoinableQueue()
    q.put(1)
    joined = threading.Event()
    thread = threading.Thread(target=lambda: (q.join(), joined.set()))
    thread.start()
    q.get(timeout=LONG_S)
    assert not joined.wait(SHORT_S)
    q.task_done()
    assert joined.wait(LONG_S)
    thread.join(LONG_S)


# --- SimpleQueue ---


def test_simple_queue_gives_what_was_put(mp):
    q = mp.SimpleQueue()
    assert q.empty()
    q.put([1, 2])
    q.put(obj="x")
    assert not q.empty()
    assert q.get() == [1, 2] and q.get() == "x" and q.empty()
    with pytest.raises(TypeError):
        q.get(timeout=1)


def test_closed_simple_queue_is_an_os_error(mp):
    q = mp.SimpleQueue()
    q.close()
    assert q._reader.closed and q._writer.closed
    for call in (q.empty, q.get, lambda: q.put(1)):
        with pytest.raises(OSError, match="handle is closed"):
            call()
    q.close()


def test_simple_queue_between_processes(mp):
    there, back = mp.SimpleQueue(), mp.SimpleQueue()
    child = mp.Process(target=echo, args=(there, back))
    child.start()
    for value in (1, "a", [None]):
        there.put(value)
        assert back.get() == value
    there.put(None)
    finish(child)


# --- the ends ---


def test_reader_can_be_waited_for(mp):
    from multiprocessing.connection import wait

    q = mp.SimpleQueue()
    assert wait([q._reader], timeout=0) == []
    child = mp.Process(target=q.put, args=("x",))
    child.start()
    assert wait([q._reader], timeout=LONG_S) == [q._reader]
    assert q._reader.recv() == "x"
    assert wait([q._reader], timeout=0) == []
    finish(child)


def test_reader_stays_readable_while_items_are_left(mp):
    from multiprocessing.connection import wait

    q = mp.SimpleQueue()
    for i in range(3):
        q.put(i)
    for i in range(3):
        assert wait([q._reader], timeout=LONG_S) == [q._reader]
        assert q._reader.poll() is True
        assert q._reader.recv() == i
    assert q._reader.poll() is False
    assert wait([q._reader], timeout=0) == []


def test_ends_know_whether_they_are_closed(mp):
    q = mp.Queue()
    assert not q._reader.closed and not q._writer.closed
    assert q._reader is q._reader
    assert isinstance(q._reader.fileno(), int)
    q._reader.close()
    assert q._reader.closed
    with pytest.raises(OSError):
        q._reader.fileno()


@pytest.mark.parametrize("name", ["Queue", "JoinableQueue", "SimpleQueue", "Lock", "Event", "Barrier"])
def test_a_missing_attribute_is_reported_with_the_class_s_short_name(mp, name):
    made = getattr(mp, name)(*([2] if name == "Barrier" else []))
    with pytest.raises(AttributeError, match=f"'{name}' object has no attribute 'bogus'"):
        made.bogus  # noqa: B018
