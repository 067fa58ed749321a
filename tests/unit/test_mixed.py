"""The standard library's objects and cmp's side by side in one program, whichever of the two starts the processes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue as threads_queue
from multiprocessing import resource_sharer, shared_memory, util

import pytest

import cmp

BOTH = {"stdlib": multiprocessing, "cmp": cmp}
OTHER = {"stdlib": cmp, "cmp": multiprocessing}


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def method(request):
    return request.param


@pytest.fixture(params=list(BOTH))
def pair(request, method):
    """A context that starts processes, and one of the other implementation that makes objects."""
    return BOTH[request.param].get_context(method), OTHER[request.param].get_context(method)


def run(starter, target, *args):
    process = starter.Process(target=target, args=args)
    process.start()
    process.join()
    assert process.exitcode == 0


# ---- what travels to a process of the other ----


def use_queues(queue, simple, joinable):
    simple.put(queue.get(timeout=100) + joinable.get(timeout=100))
    joinable.task_done()


def test_queues_go_to_processes_of_the_other(pair):
    starter, maker = pair
    queue, simple, joinable = maker.Queue(2), maker.SimpleQueue(), maker.JoinableQueue()
    queue.put([1])
    joinable.put([2])
    run(starter, use_queues, queue, simple, joinable)
    assert simple.get() == [1, 2]
    joinable.join()
    for each in (queue, joinable):
        each.close()
        each.join_thread()
    simple.close()


def use_locks(lock, rlock, semaphore, condition, event, barrier, value):
    with lock, rlock, rlock:
        semaphore.acquire()
        value.value += 1
    with condition:
        condition.notify_all()
    event.set()
    barrier.wait(100)


def test_locks_go_to_processes_of_the_other(pair):
    starter, maker = pair
    lock, rlock, semaphore, condition = maker.Lock(), maker.RLock(), maker.Semaphore(1), maker.Condition()
    event, barrier, value = maker.Event(), maker.Barrier(2), maker.Value("i", 4)
    things = (lock, rlock, semaphore, condition, event, barrier, value)
    with condition:
        process = starter.Process(target=use_locks, args=things)
        process.start()
        assert condition.wait(100)
    assert event.wait(100)
    barrier.wait(100)
    process.join()
    assert (process.exitcode, value.value, semaphore.acquire(False)) == (0, 5, False)


def use_condition_of_another(condition):
    with condition:
        condition.notify()


def test_condition_of_one_over_the_lock_of_the_other(pair):
    starter, maker = pair
    for lock in (maker.Lock(), maker.RLock()):
        condition = starter.Condition(lock)
        with condition:
            process = starter.Process(target=use_condition_of_another, args=(condition,))
            process.start()
            assert condition.wait(100)
        process.join()
        assert process.exitcode == 0


def keep(*things):
    global kept
    kept = things


def use_kept(number):
    lock, value, queue = kept
    with lock:
        value.value += number
    queue.put(number)
    return number


def test_pool_hands_objects_of_the_other_to_its_initializer(pair):
    starter, maker = pair
    lock, value, queue = maker.Lock(), maker.Value("i", 0, lock=False), maker.Queue()
    with starter.Pool(2, keep, (lock, value, queue)) as pool:
        assert pool.map(use_kept, range(10), chunksize=1) == list(range(10))
        assert sorted(queue.get(timeout=100) for _ in range(10)) == list(range(10))
        pool.close()
        pool.join()
    assert value.value == 45
    queue.close()
    queue.join_thread()


def answer(requests):
    for connection, proxy, name in iter(requests.get, None):
        proxy.append(connection.recv())
        block = shared_memory.SharedMemory(name)
        block.buf[0] = 7
        block.close()
        connection.send(list(proxy))
        connection.close()


def test_connections_proxies_and_shared_memory_travel_through_queues(pair):
    starter, maker = pair
    requests = maker.Queue()
    with starter.Manager() as manager:
        process = starter.Process(target=answer, args=(requests,))
        process.start()
        here, there = starter.Pipe()
        proxy, block = manager.list([1]), shared_memory.SharedMemory(create=True, size=10)
        try:
            # By multiprocessing's Queue a connection may be closed here before its feeder thread has sent it.
            requests.put((there, proxy, block.name))
            requests.put(None)
            here.send("sent")
            assert here.recv() == [1, "sent"]
            assert block.buf[0] == 7
        finally:
            block.close()
            block.unlink()
        process.join()
        there.close()
        here.close()
        resource_sharer.stop()  # it would go on serving descriptors until this process ends
    assert process.exitcode == 0
    requests.close()
    requests.join_thread()


def fill_managed(managed, event):
    managed.put(os.getpid())
    event.set()


def test_managers_queues_go_to_processes_and_pools_of_the_other(pair):
    starter, maker = pair
    with maker.Manager() as manager:
        managed, event = manager.Queue(), manager.Event()
        run(starter, fill_managed, managed, event)
        assert event.is_set() and managed.get(timeout=100) != os.getpid()
        with starter.Pool(1) as pool:
            pool.apply(fill_managed, (managed, event))
            pool.close()
            pool.join()
        assert isinstance(managed.get(timeout=100), int)
        with pytest.raises(threads_queue.Empty):
            managed.get_nowait()


# ---- one set of books ----


def report(queue):
    names = [module.current_process().name for module in (multiprocessing, cmp)]
    parents = [module.parent_process().pid for module in (multiprocessing, cmp)]
    logger = [module.get_logger() for module in (multiprocessing, cmp)]
    record = logging.LogRecord("n", 20, "p", 1, "m", (), None)
    queue.put((names, parents, logger[0] is logger[1], record.processName))


def test_both_see_the_same_processes(pair):
    starter, maker = pair
    queue = starter.SimpleQueue()
    event = starter.Event()
    waiting = [context.Process(target=event.wait, args=(30,)) for context in (starter, maker)]
    for process in waiting:
        process.start()
    for module in (multiprocessing, cmp):
        assert set(waiting) <= set(module.active_children())
    child = starter.Process(target=report, args=(queue,), name="Named")
    child.start()
    assert queue.get() == (["Named"] * 2, [os.getpid()] * 2, True, "Named")
    event.set()
    for process in (child, *waiting):
        process.join()
    for module in (multiprocessing, cmp):
        assert not set(waiting) & set(module.active_children())
    queue.close()


def test_numbers_are_given_once():
    first, second = multiprocessing.Process(), cmp.Process()
    assert second._identity[0] == first._identity[0] + 1


def note_at_exit(pipe, module_name):
    import importlib

    importlib.import_module(module_name)
    util.Finalize(None, os.write, (pipe, b"finalized "), exitpriority=1)


def test_exit_handler_runs_once_in_a_child_of_either():
    for starter in (multiprocessing, cmp):
        for module_name in ("cmp.managers", "multiprocessing.managers"):
            reader, writer = os.pipe()
            run(starter.get_context("fork"), note_at_exit, writer, module_name)
            os.close(writer)
            assert os.read(reader, 100) == b"finalized "
            os.close(reader)


def start_nested(queue, inner, depth):
    context = BOTH[inner].get_context("fork")
    if depth == 0:
        queue.put(cmp.current_process().name)
        return
    process = context.Process(target=start_nested, args=(queue, "cmp" if inner == "stdlib" else "stdlib", depth - 1))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def test_each_may_start_the_other_in_its_children():
    queue = cmp.get_context("fork").SimpleQueue()
    run(cmp.get_context("fork"), start_nested, queue, "stdlib", 3)
    assert queue.get().count(":") == 3
    queue.close()
