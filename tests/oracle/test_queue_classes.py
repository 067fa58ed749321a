"""What the classes of queues are to Python, on both implementations: types, bases of subclasses, hooks."""

from __future__ import annotations

import gc
import multiprocessing.queues
import pickle
import threading
import traceback
import weakref

import pytest
from support.waiting import LONG_S, wait_until


def test_class_needs_a_context(mp):
    for name in ("Queue", "JoinableQueue", "SimpleQueue"):
        with pytest.raises(TypeError, match=r"__init__\(\) missing 1 required keyword-only argument: 'ctx'"):
            getattr(mp.queues, name)()


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


def test_queue_may_be_weakly_referred_to_and_has_attributes(make_queue):
    q = make_queue()
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


@pytest.mark.parametrize("name", ["Queue", "JoinableQueue", "SimpleQueue", "Lock", "Event", "Barrier"])
def test_a_missing_attribute_is_reported_with_the_class_s_short_name(mp, name):
    made = getattr(mp, name)(*([2] if name == "Barrier" else []))
    with pytest.raises(AttributeError, match=f"'{name}' object has no attribute 'bogus'"):
        made.bogus  # noqa: B018
