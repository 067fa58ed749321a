"""Classes that other people derive from queues, pools and processes, some of which lean on what lies beneath."""

from __future__ import annotations

import multiprocessing.pool
import multiprocessing.queues
import os
import weakref

import pytest

import cmp


class Wrapped:
    """Around an end of a queue's pipe, as PyTorch has it: it sees each item."""

    def __init__(self, end):
        self.end = end

    def send(self, obj):
        self.end.send(("wrapped", obj))

    def recv(self):
        return self.end.recv()

    def __getattr__(self, name):
        return getattr(self.end, name)


def test_simple_queue_may_use_its_lock_and_wrap_its_pipe(mp):
    class Queue(mp.queues.SimpleQueue):
        def __init__(self):
            super().__init__(ctx=mp.get_context("fork"))
            self._writer = Wrapped(self._writer)

        def put(self, obj):
            with self._wlock:
                self._writer.send(obj)

    queue = Queue()
    process = mp.get_context("fork").Process(target=queue.put, args=([1, 2],))
    process.start()
    assert queue.get() == ("wrapped", [1, 2])
    process.join()
    assert isinstance(queue, mp.queues.SimpleQueue)
    queue.close()


def test_queue_may_wrap_both_ends_of_its_pipe(mp):
    class Queue(mp.queues.Queue):
        def __init__(self, maxsize):
            super().__init__(maxsize, ctx=mp.get_context("fork"))
            self._reader, self._writer = Wrapped(self._reader), Wrapped(self._writer)
            self._send, self._recv = self._writer.send, self._reader.recv

    queue = Queue(5)
    process = mp.get_context("fork").Process(target=queue.put, args=("item",))
    process.start()
    assert queue.get(timeout=100) == "item"
    process.join()
    assert (queue._maxsize, isinstance(queue, mp.queues.Queue)) == (5, True)
    queue.close()
    queue.join_thread()


def test_queue_may_bring_its_own_feeder(mp):
    class Queue(mp.queues.JoinableQueue):
        def _start_thread(self):
            started.append(type(self).__name__)
            super()._start_thread()

    started = []
    queue = Queue(ctx=mp.get_context("fork"))
    queue.put(1)
    assert (queue.get(timeout=100), started) == (1, ["Queue"])
    queue.task_done()
    queue.join()
    queue.close()
    queue.join_thread()


def test_queue_may_spell_out_its_state(mp):
    class Queue(mp.queues.Queue):
        def __getstate__(self):
            ends = self._reader, self._writer
            return self._ignore_epipe, self._maxsize, *ends, self._rlock, self._wlock, self._sem, self._opid

    queue = Queue(3, ctx=mp.get_context("fork"))
    assert queue.__getstate__()[1] == 3
    assert queue.__getstate__()[-1] == os.getpid()
    queue.close()


def test_queue_that_only_counts_stays_what_it_is(mp):
    class Queue(mp.queues.Queue):
        def __init__(self, *args, **keywords):
            super().__init__(*args, ctx=mp.get_context("fork"), **keywords)
            self.count = 0

        def put(self, *args, **keywords):
            self.count += 1
            super().put(*args, **keywords)

    queue = Queue(2)
    queue.put("x")
    assert (queue.get(timeout=100), queue.count) == ("x", 1)
    assert type(queue).__mro__[1] is mp.queues.Queue
    queue.close()
    queue.join_thread()


def test_class_keywords_reach_the_users_own_hook(mp):
    class Noting(mp.queues.Queue):
        def __init_subclass__(cls, note, **keywords):
            super().__init_subclass__(**keywords)
            cls.note = note

    class Queue(Noting, note="so"):
        pass

    assert Queue.note == "so"
    with pytest.raises(TypeError):
        type("Other", (mp.queues.SimpleQueue,), {}, unknown=1)


def test_pool_may_override_its_handlers(mp):
    class Pool(mp.pool.Pool):
        def _repopulate_pool(self):
            filled.append(self._processes)
            super()._repopulate_pool()

    filled = []
    with Pool(2, context=mp.get_context("fork")) as pool:
        assert pool.map(abs, [1, -2, 3]) == [1, 2, 3]
        assert isinstance(pool, mp.pool.Pool)
    pool.join()
    assert filled[0] == 2


# ---- results ----


@pytest.mark.parametrize("base", ["AsyncResult", "MapResult"])
def test_result_may_stand_for_another_and_let_go_of_its_pool(mp, base):
    class Ending(getattr(mp.pool, base)):
        def __init__(self, result, pool):
            self._result, self._pool = result, pool

        def get(self, timeout=None):
            value = self._result.get(timeout)
            self._pool.close()
            self._pool.join()
            self._pool = None
            return value

        def ready(self):
            return self._result.ready()

    pool = mp.get_context("fork").Pool(1)
    result = Ending(pool.map_async(abs, [-1, 2]), pool)
    assert isinstance(result, mp.pool.ApplyResult)
    assert result.get(100) == [1, 2]
    assert result.ready() and result._pool is None


def test_results_may_be_made_and_set_by_hand(mp):
    class Hub:  # what a result asks of its pool
        def __init__(self):
            self._cache = {}

    hub, told = Hub(), []
    result = mp.pool.ApplyResult(hub, told.append, None)
    whole = mp.pool.MapResult(hub, 2, 4, told.append, None)
    assert not result.ready() and set(hub._cache) == {result._job, whole._job}
    hub._cache[result._job]._set(0, (True, "done"))
    for at, part in enumerate(([1, 2], [3, 4])):
        hub._cache[whole._job]._set(at, (True, part))
    assert (result.get(0), whole.get(0), told) == ("done", [1, 2, 3, 4], ["done", [1, 2, 3, 4]])
    assert hub._cache == {}


def test_result_of_no_pool_tells_so():
    class Alone(cmp.pool.AsyncResult):
        def __init__(self):
            super().__init__(None, callback=None, error_callback=None)

    for ask in ("get", "wait", "ready", "successful"):
        with pytest.raises(RuntimeError, match="no pool has made this Alone"):
            getattr(Alone(), ask)()
    gone = weakref.ref(Alone())
    assert gone() is None


# ---- pools whose workers may have children, as people write them ----


def square_in_a_pool(x):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(pow, (x, 2))


def never_daemonic(base):
    return type("NeverDaemonic", (base,), {"daemon": property(lambda self: False, lambda self, value: None)})


def by_class_of_the_process(mp):
    class Pool(mp.pool.Pool):
        def Process(self, *args, **keywords):
            process = super().Process(*args, **keywords)
            process.__class__ = never_daemonic(type(process))
            return process

    return Pool(2, context=mp.get_context("fork"))


def by_the_default_process(mp):
    class Pool(mp.pool.Pool):
        def Process(self, *args, **keywords):
            process = super().Process(*args, **keywords)
            process.__class__ = never_daemonic(mp.Process)
            return process

    return Pool(2, context=mp.get_context("fork"))


def by_context(mp):
    class Context(type(mp.get_context("fork"))):
        Process = never_daemonic(mp.get_context("fork").Process)

    return mp.pool.Pool(2, context=Context())


@pytest.mark.parametrize("how", [by_class_of_the_process, by_the_default_process, by_context])
def test_workers_that_are_no_daemons_may_have_pools(how, mp):
    with how(mp) as pool:
        assert pool.map(square_in_a_pool, [1, 2, 3]) == [1, 4, 9]
        pool.close()
        pool.join()
