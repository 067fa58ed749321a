"""Manager() as the standard library has it: its queues, its end, what it serves; each test runs on both."""

from __future__ import annotations

import gc
import os
import pickle
import queue as threads_queue
import signal
import threading
import time

import pytest
from support.children import in_child
from support.waiting import LONG_S

# --- the queue ---


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue"])
def test_a_queue_keeps_order_and_bounds(manager, kind):
    queue = getattr(manager, kind)(2)
    queue.put("a")
    queue.put("b")
    assert queue.full() and queue.qsize() == 2
    with pytest.raises(threads_queue.Full):
        queue.put_nowait("c")
    assert [queue.get(), queue.get_nowait()] == ["a", "b"]
    assert queue.empty()
    with pytest.raises(threads_queue.Empty):
        queue.get(timeout=0.01)


def test_a_queue_prints_as_a_queue_and_its_proxy_as_a_proxy(manager):
    queue = manager.Queue()
    assert str(queue).startswith("<queue.Queue object at 0x")
    assert repr(queue).startswith("<AutoProxy[Queue] object, typeid 'Queue' at 0x")


def test_a_method_of_a_queue_can_be_sent_like_the_queue(mp, manager):
    queue = manager.Queue()
    pickle.loads(pickle.dumps(queue.put))("here")
    assert queue.get(timeout=LONG_S) == "here"
    with mp.Pool(1) as pool:
        pool.apply(queue.put, ("from a worker",))
        assert queue.get(timeout=LONG_S) == "from a worker"
    pool.join()


def test_a_negative_timeout_is_an_error(manager):
    queue = manager.Queue(1)
    with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
        queue.get(timeout=-1)
    with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
        queue.put(1, timeout=-1)
    queue.put(1, block=False, timeout=-1)
    assert queue.get(False, -1) == 1


def test_task_done_counts_and_join_waits_for_it(manager):
    queue = manager.Queue()
    queue.put(1)
    joined = threading.Event()
    thread = threading.Thread(target=lambda: (queue.join(), joined.set()))
    thread.start()
    assert queue.get() == 1
    assert not joined.is_set()
    queue.task_done()
    thread.join(LONG_S)
    assert joined.is_set()
    with pytest.raises(ValueError, match="task_done"):
        queue.task_done()


def test_a_forked_child_puts_what_its_parent_gets(mp, manager):
    queue = manager.Queue()
    in_child(mp, queue.put, {"pid": 1})
    assert queue.get(timeout=LONG_S) == {"pid": 1}


def test_a_process_forked_before_the_manager_can_use_its_queue(mp):
    ours, theirs = mp.Pipe()

    def child():
        theirs.recv().put("from an elder")

    process = mp.Process(target=child)
    process.start()
    with mp.Manager() as manager:
        queue = manager.Queue()
        ours.send(queue)
        assert queue.get(timeout=LONG_S) == "from an elder"
        process.join(LONG_S)
    ours.close()
    theirs.close()


def put_in(queue, what):
    queue.put(what)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.leaves("process", "descriptor")  # the standard library's resource tracker and fork server stay
def test_a_spawned_child_can_use_the_queue(mp, method):
    context = mp.get_context(method)
    with context.Manager() as manager:
        queue = manager.Queue()
        process = context.Process(target=put_in, args=(queue, "spawned"))
        process.start()
        assert queue.get(timeout=LONG_S) == "spawned"
        process.join(LONG_S)
        assert process.exitcode == 0


def test_a_pickled_queue_is_the_same_queue(manager):
    queue = manager.Queue()
    again = pickle.loads(pickle.dumps(queue))
    again.put(1)
    assert queue.get() == 1


def test_a_method_of_a_queue_can_be_pickled_and_is_the_same_queues(manager):
    queue = manager.Queue()
    pickle.loads(pickle.dumps(queue.put))("by its method")
    assert queue.get() == "by its method"


def test_a_method_keeps_its_queue_alive(manager):
    put = manager.Queue().put
    put(1)
    assert put.__self__.get() == 1


def test_a_queue_in_a_managed_list_is_the_same_queue(manager):
    queue = manager.Queue()
    shared = manager.list([queue])
    shared[0].put(1)
    assert queue.get() == 1


def test_objects_that_cannot_be_pickled_are_refused_at_put(manager):
    queue = manager.Queue()
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        queue.put(lambda: None)
    assert queue.qsize() == 0


def test_a_dropped_queue_is_dropped_by_the_manager(manager):
    before = manager._number_of_objects()
    queues = [manager.Queue() for _ in range(3)]
    assert manager._number_of_objects() == before + 3
    del queues
    assert manager._number_of_objects() == before


# --- its end ---


def blocked_get(queue):
    """A thread in queue.get(), and a list for what it raises."""
    raised = []

    def get():
        try:
            queue.get()
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    thread = threading.Thread(target=get)
    thread.start()
    return thread, raised


@pytest.mark.parametrize("how", ["shutdown", "kill"])
def test_a_blocked_get_ends_with_the_manager(mp, how):
    manager = mp.Manager()
    queue = manager.Queue()
    thread, raised = blocked_get(queue)
    time.sleep(0.1)  # let it block; if it has not, the test still holds
    if how == "kill":
        os.kill(manager._process.pid, signal.SIGKILL)
        manager._process.join(LONG_S)
    else:
        manager.shutdown()
    thread.join(LONG_S)
    assert not thread.is_alive()
    assert isinstance(raised[0], (EOFError, ConnectionError, FileNotFoundError))
    manager.shutdown()


def test_after_shutdown_calls_fail_as_on_a_missing_file(mp):
    manager = mp.Manager()
    queue, lock = manager.Queue(), manager.Lock()
    manager.shutdown()
    for call in (queue.get, queue.qsize, lock.acquire):
        with pytest.raises((FileNotFoundError, ConnectionError, EOFError)):
            call()


def test_after_a_kill_calls_fail_as_on_a_refused_connection(mp):
    manager = mp.Manager()
    queue, lock = manager.Queue(), manager.Lock()
    os.kill(manager._process.pid, signal.SIGKILL)
    manager._process.join(LONG_S)
    for call in (queue.get_nowait, queue.qsize, lock.acquire):
        with pytest.raises((ConnectionError, EOFError)):
            call()
    manager.shutdown()


# --- what the manager itself serves ---


def test_lists_dicts_namespaces_values_and_arrays_work_as_before(manager):
    shared = manager.list([1, 2])
    shared.append(3)
    assert list(shared) == [1, 2, 3]
    table = manager.dict(a=1)
    table["b"] = shared
    assert table["b"][2] == 3
    names = manager.Namespace(x=1)
    names.y = 2
    assert names.x + names.y == 3
    value = manager.Value("i", 7)
    value.value += 1
    assert value.value == 8
    assert list(manager.Array("i", [1, 2])) == [1, 2]


class Counter:
    def __init__(self):
        self.count = 0

    def up(self):
        self.count += 1
        return self.count


def test_classes_of_the_user_are_served(mp):
    import importlib

    managers = importlib.import_module(mp.__name__ + ".managers")

    class Mine(managers.BaseManager):
        pass

    Mine.register("Counter", Counter)
    with Mine() as manager:
        counter = manager.Counter()
        assert [counter.up(), counter.up()] == [1, 2]


def test_a_manager_with_a_tcp_address_serves_a_queue(mp):
    import importlib

    managers = importlib.import_module(mp.__name__ + ".managers")
    with managers.SyncManager(("127.0.0.1", 0), authkey=b"k") as manager:
        queue = manager.Queue()
        queue.put(1)
        assert in_child(mp, queue.get) == 1
        assert queue.empty()


PROXIED = {
    "Queue": (lambda m: m.Queue(), lambda q: (q.put(1), q.get())[1]),
    "dict": (lambda m: m.dict(a=1), lambda d: d["a"]),
    "list": (lambda m: m.list([1]), lambda found: found[0]),
    "Lock": (lambda m: m.Lock(), lambda lock: lock.acquire()),
    "Value": (lambda m: m.Value("i", 1), lambda v: v.value),
}


@pytest.mark.parametrize("make, use", PROXIED.values(), ids=PROXIED)
@pytest.mark.parametrize("wrap", [lambda proxy: proxy, lambda proxy: {"x": [proxy]}], ids=["bare", "inside"])
def test_proxy_in_a_queue_keeps_its_referent_alive(mp, make, use, wrap):
    with mp.Manager() as manager:
        queue = manager.Queue()
        for _ in range(3):
            queue.put(wrap(make(manager)))
        gc.collect()
        for _ in range(3):
            got = queue.get()
            assert use(got["x"][0] if isinstance(got, dict) else got) == 1


def answer(requests):
    for question, reply in iter(requests.get, None):
        reply.put(question * 2)


def test_replies_come_by_queues_that_travel_with_the_questions(mp):
    with mp.Manager() as manager:
        requests = manager.Queue()
        server = mp.Process(target=answer, args=(requests,))
        server.start()
        for question in range(20):
            reply = manager.Queue()
            requests.put((question, reply))
            assert reply.get(timeout=100) == question * 2
        requests.put(None)
        server.join()
