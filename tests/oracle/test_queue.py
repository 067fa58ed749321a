"""Queue and JoinableQueue within a process, as the standard library has them; each test runs on both."""

from __future__ import annotations

import queue as threads_queue
import time
import weakref

import pytest
from support.waiting import LONG_S, SHORT_S, finish, wait_until

# --- one process ---


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1, 2**63, 2**64, 1.5, "", "ä€😀", b"", b"x" * 70000, (), (1, (2, 3)), [1, [2]], {"a": {1: 2}},
     {1, 2}, frozenset([3]), range(5), 1 + 2j, Ellipsis, "s" * 5000],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_value_arrives_as_it_was_put(make_queue, value):
    q = make_queue()
    q.put(value)
    got = q.get(timeout=LONG_S)
    assert got == value and type(got) is type(value)


def test_objects_come_out_in_order(make_queue):
    q = make_queue()
    for i in range(100):
        q.put(i)
    assert [q.get(timeout=LONG_S) for _ in range(100)] == list(range(100))


def test_arguments_may_be_keywords(make_queue):
    q = make_queue(maxsize=2)
    q.put(obj=1, block=True, timeout=None)
    q.put(obj=2, block=False, timeout=5)
    assert q.get(block=True, timeout=LONG_S) == 1
    assert q.get(True, LONG_S) == 2


@pytest.mark.parametrize("call", ["q.put()", "q.put(1, True, None, 4)", "q.put(1, nonsense=2)", "q.put(1, obj=2)",
                                  "q.get(True, None, 3)", "q.get(nonsense=1)", "q.put_nowait()", "q.get_nowait(1)",
                                  "q.qsize(1)"])  # fmt: skip
def test_wrong_arguments_are_a_type_error(make_queue, call):
    with pytest.raises(TypeError):
        eval(call, {"q": make_queue()})


@pytest.mark.parametrize("maxsize", [0, -1, -100])
def test_queue_without_size_is_never_full(make_queue, maxsize):
    q = make_queue(maxsize)
    for i in range(50):
        q.put_nowait(i)
    assert not q.full()
    for _ in range(50):
        q.get(timeout=LONG_S)


def test_full_queue_raises_full(make_queue):
    q = make_queue(2)
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


def test_empty_queue_raises_empty(make_queue):
    q = make_queue()
    assert q.empty() and q.qsize() == 0
    for get in (lambda: q.get(False), q.get_nowait, lambda: q.get(True, 0.01), lambda: q.get(timeout=0),
                lambda: q.get(timeout=-1), lambda: q.get(block=False, timeout=5)):  # fmt: skip
        with pytest.raises(threads_queue.Empty):
            get()


def test_timeout_lasts_as_long_as_asked(make_queue):
    q = make_queue(1)
    before = time.monotonic()
    with pytest.raises(threads_queue.Empty):
        q.get(timeout=SHORT_S)
    assert SHORT_S <= time.monotonic() - before < SHORT_S + LONG_S
    q.put(1)
    before = time.monotonic()
    with pytest.raises(threads_queue.Full):
        q.put(2, timeout=SHORT_S)
    assert SHORT_S <= time.monotonic() - before < SHORT_S + LONG_S


@pytest.mark.parametrize("timeout", ["1", [], object()])
def test_timeout_has_to_be_a_number(make_queue, timeout):
    with pytest.raises(TypeError):
        make_queue().get(True, timeout)


def test_get_of_an_object_that_does_not_unpickle_consumes_it(make_queue):
    q = make_queue()
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


def test_object_with_its_own_reduction_arrives(make_queue):
    q = make_queue()
    q.put(Point(3, 4))
    point = q.get(timeout=LONG_S)
    assert (point.x, point.y) == (3, 4)


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return (self.x, self.y) == (other.x, other.y)


def test_identity_and_cycles_within_an_object_are_kept(make_queue):
    q = make_queue()
    shared = [1]
    value = [shared, shared]
    value.append(value)
    q.put(value)
    got = q.get(timeout=LONG_S)
    assert got[0] is got[1] and got[2] is got


def test_nothing_that_was_sent_is_kept_alive(make_queue):
    q = make_queue()
    point = Point(1, 2)
    gone = weakref.ref(point)
    q.put([point])
    arrived = q.get(timeout=LONG_S)[0]
    gone_too = weakref.ref(arrived)
    del point, arrived
    wait_until(lambda: gone() is None and gone_too() is None)


# --- closing ---


def test_closed_queue_refuses_put_and_get(make_queue):
    q = make_queue()
    q.close()
    for call in (lambda: q.put(1), lambda: q.get(), lambda: q.put_nowait(1), lambda: q.get_nowait()):
        with pytest.raises(ValueError, match="is closed"):
            call()
    q.close()
    q.join_thread()


def test_close_is_this_process_s_own(make_queue, mp):
    q = make_queue()
    child = mp.Process(target=close_and_end, args=(q,))
    child.start()
    finish(child)
    q.put(1)
    assert q.get(timeout=LONG_S) == 1


def close_and_end(q):
    q.close()
    q.join_thread()


def test_join_thread_before_close_is_an_assertion(make_queue):
    q = make_queue()
    with pytest.raises(AssertionError, match="not closed"):
        q.join_thread()
    q.cancel_join_thread()
    q.close()
    q.join_thread()


def test_used_and_closed_queue_cannot_say_whether_it_is_empty(make_queue):
    unused, used = make_queue(), make_queue()
    unused.close()
    unused.join_thread()
    assert unused.empty()
    used.put("foo")
    used.close()
    used.join_thread()
    with pytest.raises(OSError, match="is closed"):
        used.empty()
