"""Lock, RLock, Semaphore, Condition, Event, Barrier as the standard library has them; each test runs on both."""

from __future__ import annotations

import gc
import inspect
import multiprocessing
import os
import pickle
import re
import signal
import sys
import threading
import time
import weakref

import pytest
from support.waiting import LONG_S, SHORT_S, finish, wait_until

METHODS = ["fork", "spawn", "forkserver"]
SHARED_WITH_SPAWN = "A SemLock created in a fork context is being shared with a process in a spawn context."


def in_thread(function, *args):
    """What function(*args) gives in a thread named T."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)), name="T")
    thread.start()
    thread.join(LONG_S)
    return results[0]


def in_child(mp, function, *args):
    """What function(*args) gives, as text, in a forked child."""
    receiver, sender = mp.Pipe(False)
    child = mp.Process(target=lambda: sender.send(str(function(*args))))
    child.start()
    answer = receiver.recv()
    finish(child)
    receiver.close()
    sender.close()
    return answer


def error_of(function, *args):
    try:
        function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def interrupted(function, *args):
    """Seconds from SIGINT to the KeyboardInterrupt out of a call that blocks."""
    sent = []

    def interrupt():
        time.sleep(SHORT_S)  # long enough for the call to be asleep, and right also if it is not
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            function(*args)
        return time.monotonic() - sent[0]
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)


def elapsed(function, *args, **kwargs):
    begun = time.monotonic()
    result = function(*args, **kwargs)
    return result, time.monotonic() - begun


@pytest.fixture(params=["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def lock(request, mp):
    return getattr(mp, request.param)()


# --- all that can be acquired ---


def test_acquire_and_release(lock):
    assert lock.acquire() is True
    assert lock.release() is None
    assert lock.acquire(False) is True
    lock.release()
    assert lock.__enter__() is True
    assert lock.__exit__(None, None, None) is None


@pytest.mark.parametrize(
    "args, kwargs, least",
    [
        ((False,), {}, 0),
        ((False, None), {}, 0),
        ((False, 5), {}, 0),
        ((True, 0), {}, 0),
        ((True, -1), {}, 0),
        ((), {"timeout": -0.5}, 0),
        ((True, SHORT_S), {}, SHORT_S),
        ((), {"timeout": SHORT_S}, SHORT_S),
        ((), {"block": 1, "timeout": SHORT_S}, SHORT_S),
    ],
)
def test_taken_lock_is_refused_in_time(lock, args, kwargs, least):
    lock.acquire()
    result, took = in_thread(lambda: elapsed(lock.acquire, *args, **kwargs))
    assert result is False
    assert least - 0.001 <= took < least + 1
    lock.release()


@pytest.mark.parametrize("args", [(True, "x"), (False, "x"), (1, 2, 3)])
def test_wrong_arguments_are_type_errors(lock, args):
    with pytest.raises(TypeError):
        lock.acquire(*args)
    with pytest.raises(TypeError):
        lock.acquire(wrong=1)
    assert lock.acquire(False)
    lock.release()


def test_release_of_what_is_free(mp):
    for lock in (mp.Lock(), mp.BoundedSemaphore(2)):
        assert error_of(lock.release) == "ValueError: semaphore or lock released too many times"
        assert error_of(lock.__exit__, None, None, None) == error_of(lock.release)
    rlock = mp.RLock()
    assert error_of(rlock.release) == "AssertionError: attempt to release recursive lock not owned by thread"


def needs_locked(mp):
    if mp is multiprocessing and sys.version_info < (3, 14):
        pytest.skip("the standard library has locked() from 3.14 on")


def test_locked_says_whether_it_is_taken_here_and_elsewhere(lock, mp):
    needs_locked(mp)
    assert lock.locked() is False
    with lock:
        assert lock.locked() is True  # an RLock too, though who holds it could take it again
        assert in_child(mp, lock.locked) == "True"
    assert lock.locked() is False
    assert in_child(mp, lock.locked) == "False"


def test_semaphore_is_locked_when_none_is_left(mp):
    needs_locked(mp)
    semaphore = mp.Semaphore(2)
    semaphore.acquire()
    assert not semaphore.locked()
    semaphore.acquire()
    assert semaphore.locked()


def test_another_process_waits_for_the_release(lock, mp):
    lock.acquire()
    begun = mp.Event()

    def take():
        begun.set()
        assert lock.acquire(timeout=LONG_S)
        lock.release()

    child = mp.Process(target=take)
    child.start()
    assert begun.wait(LONG_S)
    lock.release()
    finish(child)


def test_any_process_may_release_a_lock(mp):
    lock = mp.Lock()
    lock.acquire()
    assert in_child(mp, lock.release) == "None"
    assert lock.acquire(False)


def test_plain_acquire_of_an_ended_process_stays_taken(mp):
    lock = mp.Lock()
    assert in_child(mp, lock.acquire) == "True"
    assert not lock.acquire(timeout=SHORT_S)
    lock.release()
    assert lock.acquire(False)


def test_child_forked_inside_the_body_releases_when_it_leaves(mp):
    lock = mp.Lock()
    lock.__enter__()
    assert in_child(mp, lock.__exit__, None, None, None) == "None"
    assert lock.acquire(False)


def test_holders_exclude_each_other(lock, mp):
    counter = mp.RawValue("i", 0)

    def count():
        for _ in range(2000):
            with lock:
                counter.value += 1

    children = [mp.Process(target=count) for _ in range(3)]
    for child in children:
        child.start()
    finish(*children)
    assert counter.value == 6000


def test_interrupt_ends_a_blocked_acquire(lock):
    in_thread(lock.acquire)
    assert interrupted(lock.acquire) < 1
    assert interrupted(lock.acquire, True, LONG_S) < 1


def test_locks_are_ordinary_objects(mp):
    class Mine(type(mp.Lock())):
        def __init__(self, name):
            super().__init__(ctx=mp.get_context("fork"))
            self.name = name

    mine = Mine("mine")
    assert mine.name == "mine" and repr(mine) == "<Mine(owner=None)>"
    with mine:
        assert repr(mine) == "<Mine(owner=MainProcess)>"
    plain = mp.Lock()
    plain.note = 1
    gone = weakref.ref(plain)
    del plain
    gc.collect()
    assert gone() is None
    assert mp.Lock() != mp.Lock() and hash(mp.Lock())


# --- Semaphore ---


def test_semaphore_counts(mp):
    semaphore = mp.Semaphore(2)
    assert semaphore.get_value() == 2
    assert semaphore.acquire() and semaphore.acquire()
    assert semaphore.get_value() == 0
    assert not semaphore.acquire(False)
    for value in (1, 2, 3):
        semaphore.release()
        assert semaphore.get_value() == value


def test_semaphore_values(mp):
    assert mp.Semaphore(2**31 - 1).get_value() == 2**31 - 1
    assert error_of(mp.Semaphore(2**31 - 1).release).startswith("ValueError")
    assert repr(mp.BoundedSemaphore(0)) == "<BoundedSemaphore(value=0, maxvalue=0)>"
    for value, error in ((-1, OSError), (2**31, OverflowError), ("1", TypeError), (1.5, TypeError)):
        with pytest.raises(error):
            mp.Semaphore(value)


# --- reprs and the _semlock interface ---


def test_reprs_of_a_lock(mp):
    lock = mp.Lock()
    assert repr(lock) == "<Lock(owner=None)>"
    with lock:
        assert repr(lock) == "<Lock(owner=MainProcess)>"
        assert in_thread(repr, lock) == "<Lock(owner=SomeOtherThread)>"
        assert in_child(mp, repr, lock) == "<Lock(owner=SomeOtherProcess)>"
    assert in_thread(lambda: (lock.acquire(), repr(lock), lock.release())[1]) == "<Lock(owner=MainProcess|T)>"


def test_reprs_of_an_rlock(mp):
    lock = mp.RLock()
    assert repr(lock) == "<RLock(None, 0)>"
    with lock, lock:
        assert repr(lock) == "<RLock(MainProcess, 2)>"
        assert in_thread(repr, lock) == "<RLock(SomeOtherThread, nonzero)>"
        assert in_child(mp, repr, lock) == "<RLock(SomeOtherProcess, nonzero)>"
    assert in_thread(lambda: (lock.acquire(), repr(lock), lock.release())[1]) == "<RLock(MainProcess|T, 1)>"


def test_reprs_of_the_others(mp):
    assert repr(mp.Semaphore(3)) == "<Semaphore(value=3)>"
    assert repr(mp.BoundedSemaphore(3)) == "<BoundedSemaphore(value=3, maxvalue=3)>"
    assert repr(mp.Condition()) == "<Condition(<RLock(None, 0)>, 0)>"
    assert repr(mp.Condition(mp.Lock())) == "<Condition(<Lock(owner=None)>, 0)>"
    if sys.version_info >= (3, 11):
        event = mp.Event()
        assert repr(event) == f"<Event at {id(event):#x} unset>"
        event.set()
        assert repr(event) == f"<Event at {id(event):#x} set>"
        barrier = mp.Barrier(2)
        assert re.fullmatch(r"<\w+\.synchronize\.Barrier at 0x\w+: waiters=0/2>", repr(barrier))
        barrier.abort()
        assert re.fullmatch(r"<\w+\.synchronize\.Barrier at 0x\w+: broken>", repr(barrier))


def test_semlock_interface(mp):
    for lock, kind, most in (
        (mp.Lock(), 1, 1),
        (mp.RLock(), 0, 1),
        (mp.Semaphore(3), 1, 2**31 - 1),
        (mp.BoundedSemaphore(3), 1, 3),
    ):
        semlock = lock._semlock
        value = semlock._get_value()
        assert (semlock.kind, semlock.maxvalue, semlock.name) == (kind, most, None)
        assert isinstance(semlock.handle, int) and semlock.SEM_VALUE_MAX == 2**31 - 1
        assert (semlock._is_mine(), semlock._count(), semlock._is_zero()) == (False, 0, False)
        assert semlock.acquire() and lock._semlock._is_mine()
        assert (lock._semlock._count(), lock._semlock._get_value()) == (1, value - 1)
        assert lock._semlock._is_zero() == (value == 1)
        assert not in_thread(lock._semlock._is_mine)
        assert in_child(mp, lambda s=lock._semlock: (s._is_mine(), s._count())) == "(False, 0)"
        semlock.release()
        with semlock:
            assert lock._semlock._count() == 1


def test_rlock_belongs_to_a_thread_of_a_process(mp):
    lock = mp.RLock()
    not_owned = "AssertionError: attempt to release recursive lock not owned by thread"
    with lock:
        assert in_thread(error_of, lock.release) == not_owned
        assert in_child(mp, error_of, lock.release) == not_owned
        assert in_thread(lock.acquire, False) is False
        assert lock.acquire(False) and lock.acquire(timeout=0)
        lock.release()
        lock.release()
    assert in_thread(lock.acquire, False) is True


# --- Condition ---


def test_condition_wants_its_lock_held(mp):
    condition = mp.Condition()
    assert error_of(condition.wait) == "AssertionError: must acquire() condition before using wait()"
    assert error_of(condition.wait_for, bool) == error_of(condition.wait)
    assert error_of(condition.notify) == "AssertionError: lock is not owned"
    assert error_of(condition.notify_all) == "AssertionError: lock is not owned"
    assert condition.wait_for(lambda: 7) == 7


def test_condition_times_out(mp):
    condition = mp.Condition()
    with condition:
        for timeout, least in ((0, 0), (-1, 0), (SHORT_S, SHORT_S)):
            result, took = elapsed(condition.wait, timeout)
            assert result is False and least - 0.001 <= took < least + 1
        result, took = elapsed(condition.wait_for, lambda: 0, SHORT_S)
        assert result == 0 and SHORT_S - 0.001 <= took < SHORT_S + 1
        with pytest.raises(TypeError):
            condition.wait("x")
        assert condition._lock._semlock._is_mine()


@pytest.fixture(params=["none", "Lock", "RLock"])
def condition(request, mp):
    return mp.Condition(None if request.param == "none" else getattr(mp, request.param)())


def waiters(mp, condition, n):
    """n children that wait and then report."""
    asleep, woken = mp.Semaphore(0), mp.Semaphore(0)

    def wait():
        with condition:
            asleep.release()
            assert condition.wait(LONG_S) is True
        woken.release()

    children = [mp.Process(target=wait) for _ in range(n)]
    for child in children:
        child.start()
    for _ in range(n):
        assert asleep.acquire(timeout=LONG_S)
    return children, woken


def test_notify_wakes_as_many_as_it_says(mp, condition):
    children, woken = waiters(mp, condition, 4)
    with condition:
        assert repr(condition).endswith(", 4)>")
        condition.notify()
    assert woken.acquire(timeout=LONG_S)
    with condition:
        condition.notify(0)
        condition.notify(n=2)
    for _ in range(2):
        assert woken.acquire(timeout=LONG_S)
    assert not woken.acquire(timeout=SHORT_S)
    with condition:
        condition.notify_all()
    assert woken.acquire(timeout=LONG_S)
    finish(*children)
    with condition:
        assert repr(condition).endswith(", 0)>")
        condition.notify(5)


def test_notification_without_waiters_is_lost(mp, condition):
    with condition:
        condition.notify_all()
        assert condition.wait(SHORT_S) is False


def test_wait_gives_an_rlock_up_whole_and_back_whole(mp):
    condition = mp.Condition()

    def notify():
        with condition:
            condition.notify()

    child = mp.Process(target=notify)
    with condition, condition, condition:
        child.start()
        assert condition.wait(LONG_S)
        assert condition._lock._semlock._count() == 3
    assert condition._lock._semlock._count() == 0
    finish(child)


def test_wait_for_goes_on_until_it_is_true(mp):
    condition, state = mp.Condition(), mp.RawValue("i", 0)

    def count():
        for _ in range(4):
            with condition:
                state.value += 1
                condition.notify()

    child = mp.Process(target=count)
    with condition:
        child.start()
        assert condition.wait_for(lambda: state.value == 4, LONG_S)
    finish(child)


def test_interrupt_ends_a_wait_with_the_lock_held(mp, condition):
    with condition:
        assert interrupted(condition.wait) < 1
        assert interrupted(condition.wait, LONG_S) < 1
        assert condition._lock._semlock._is_mine()
    assert repr(condition).endswith(", 0)>")


def test_conditions_of_the_stdlib_take_either_lock(mp):
    for lock in (mp.Lock(), mp.RLock()):
        condition = multiprocessing.Condition(lock)
        children, woken = waiters(mp, condition, 2)
        with condition:
            condition.notify_all()
        finish(*children)
        assert woken.get_value() == 2


def test_conditions_take_locks_of_the_stdlib(mp):
    for lock in (multiprocessing.Lock(), multiprocessing.RLock()):
        condition = mp.Condition(lock)
        children, woken = waiters(mp, condition, 2)
        with condition:
            condition.notify_all()
        finish(*children)
        assert woken.get_value() == 2
        with condition:
            assert condition.wait(0) is False and condition._lock._semlock._is_mine()


def test_condition_is_its_lock_too(mp, condition):
    assert condition.acquire() is True
    assert in_thread(condition.acquire, False) is False
    assert condition.release() is None
    assert condition.acquire(block=False) is True
    condition.release()


# --- Event ---


def test_event_is_set_and_cleared(mp):
    event = mp.Event()
    assert event.is_set() is False
    assert event.wait(0) is False and event.wait(-1) is False
    result, took = elapsed(event.wait, SHORT_S)
    assert result is False and SHORT_S - 0.001 <= took < SHORT_S + 1
    assert event.set() is None and event.set() is None
    assert event.is_set() is True
    assert event.wait() is True and event.wait(timeout=0) is True
    assert event.clear() is None and event.clear() is None
    assert event.is_set() is False


def test_event_wakes_all_processes(mp):
    event, ready = mp.Event(), mp.Semaphore(0)

    def wait():
        ready.release()
        assert event.wait(LONG_S) is True

    children = [mp.Process(target=wait) for _ in range(4)]
    for child in children:
        child.start()
    for _ in children:
        assert ready.acquire(timeout=LONG_S)
    event.set()
    finish(*children)


def test_interrupt_ends_an_event_wait(mp):
    event = mp.Event()
    assert interrupted(event.wait) < 1
    assert interrupted(event.wait, LONG_S) < 1


def test_only_the_main_thread_runs_handlers(mp):
    event, ran = mp.Event(), []
    before = signal.signal(signal.SIGUSR1, lambda *_: ran.append(threading.current_thread().name))
    thread = threading.Thread(target=event.wait)
    thread.start()
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        wait_until(lambda: ran)
        assert thread.is_alive() and ran == ["MainThread"]
    finally:
        event.set()
        thread.join(LONG_S)
        signal.signal(signal.SIGUSR1, before)


# --- Barrier ---


def test_barrier_numbers_its_parties(mp):
    barrier, numbers = mp.Barrier(3), multiprocessing.SimpleQueue()

    def pass_twice():
        for _ in range(2):
            numbers.put(barrier.wait(LONG_S))

    children = [mp.Process(target=pass_twice) for _ in range(3)]
    for child in children:
        child.start()
    finish(*children)
    assert sorted(numbers.get() for _ in range(6)) == [0, 0, 1, 1, 2, 2]
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)
    numbers.close()


def test_barrier_action_runs_once_before_all_pass(mp):
    count = mp.RawValue("i", 0)

    def add():
        count.value += 1

    barrier = mp.Barrier(3, action=add)

    def check():
        for i in range(20):
            barrier.wait(LONG_S)
            assert count.value == i + 1
            barrier2.wait(LONG_S)

    barrier2 = mp.Barrier(3)
    children = [mp.Process(target=check) for _ in range(3)]
    for child in children:
        child.start()
    finish(*children)


def test_barrier_breaks_by_timeout_and_is_whole_after_reset(mp):
    barrier = mp.Barrier(2, timeout=SHORT_S)
    for timeout, least in ((None, SHORT_S), (2 * SHORT_S, 2 * SHORT_S), (0, 0), (-1, 0)):
        begun = time.monotonic()
        with pytest.raises(threading.BrokenBarrierError):
            barrier.wait(timeout)
        assert least - 0.001 <= time.monotonic() - begun < least + 1
        assert barrier.broken and barrier.n_waiting == 0
        with pytest.raises(threading.BrokenBarrierError):
            barrier.wait(LONG_S)
        assert barrier.reset() is None
        assert not barrier.broken


@pytest.mark.parametrize("end", ["abort", "reset"])
def test_abort_and_reset_break_it_for_those_that_wait(mp, end):
    barrier = mp.Barrier(3)

    def wait():
        with pytest.raises(threading.BrokenBarrierError):
            barrier.wait(LONG_S)

    children = [mp.Process(target=wait) for _ in range(2)]
    for child in children:
        child.start()
    wait_until(lambda: barrier.n_waiting == 2)
    getattr(barrier, end)()
    finish(*children)
    assert barrier.broken == (end == "abort")


def test_failing_action_breaks_it_and_raises_in_one(mp):
    def fail():
        raise KeyError("action")

    barrier = mp.Barrier(2, fail)
    outcomes = mp.Semaphore(0), mp.Semaphore(0)

    def wait():
        try:
            barrier.wait(LONG_S)
        except KeyError:
            outcomes[0].release()
        except threading.BrokenBarrierError:
            outcomes[1].release()

    children = [mp.Process(target=wait) for _ in range(2)]
    for child in children:
        child.start()
    finish(*children)
    assert [outcome.get_value() for outcome in outcomes] == [1, 1]
    assert barrier.broken


def test_interrupt_takes_an_arrival_back(mp):
    barrier = mp.Barrier(2)
    assert interrupted(barrier.wait, LONG_S) < 1
    assert (barrier.n_waiting, barrier.broken) == (0, False)


def test_barrier_of_one(mp):
    ran = []
    barrier = mp.Barrier(1, lambda: ran.append(1))
    assert barrier.wait() == 0 and barrier.wait(0) == 0 and ran == [1, 1]


# --- travel ---


def everything(mp):
    return [
        mp.Lock(),
        mp.RLock(),
        mp.Semaphore(2),
        mp.BoundedSemaphore(2),
        mp.Condition(),
        mp.Condition(mp.Lock()),
        mp.Event(),
        mp.Barrier(2),
    ]


def test_pickling_outside_a_start_is_refused(mp):
    for thing in everything(mp):
        message = error_of(pickle.dumps, thing)
        assert re.fullmatch(
            r"RuntimeError: \w+ objects should only be shared between processes through inheritance", message
        )


def use_everything(lock, rlock, semaphore, bounded, over_rlock, over_lock, event, barrier, ready, deeper):
    """The other side of test_locks_travel."""
    if deeper is not None:
        things = (lock, rlock, semaphore, bounded, over_rlock, over_lock, event, barrier, ready)
        child = deeper.Process(target=use_everything, args=(*things, None))
        child.start()
        child.join(LONG_S)
        raise SystemExit(child.exitcode)
    assert not lock.acquire(False) and not rlock.acquire(False)
    assert semaphore.acquire(False) and not semaphore.acquire(False)
    assert bounded.get_value() == 1
    ready.release()
    assert event.wait(LONG_S)
    for condition in (over_rlock, over_lock):
        with condition:
            ready.release()
            assert condition.wait(LONG_S)
    lock.release()
    assert lock.acquire(timeout=LONG_S)
    barrier.wait(LONG_S)


@pytest.mark.parametrize("deep", [False, True], ids=["child", "grandchild"])
@pytest.mark.parametrize("method", METHODS)
def test_locks_travel(mp, method, deep):
    context = mp.get_context(method)
    things = lock, rlock, semaphore, bounded, over_rlock, over_lock, event, barrier = everything(context)
    ready = context.Semaphore(0)
    for thing in (lock, rlock, semaphore, bounded):
        thing.acquire()
    child = context.Process(target=use_everything, args=(*things, ready, context if deep else None))
    child.start()
    assert ready.acquire(timeout=LONG_S)
    event.set()
    for condition in (over_rlock, over_lock):
        assert ready.acquire(timeout=LONG_S)
        with condition:
            condition.notify()
    assert barrier.wait(LONG_S) in (0, 1)
    finish(child)
    assert repr(lock) in ("<Lock(owner=SomeOtherProcess)>", "<Lock(owner=MainProcess)>")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the stdlib does not check")
def test_locks_of_a_fork_context_do_not_go_to_spawned_children(mp):
    for thing in everything(mp.get_context("fork")):
        child = mp.get_context("spawn").Process(target=print, args=(thing,))
        with pytest.raises(RuntimeError, match=SHARED_WITH_SPAWN):
            child.start()


def test_values_take_a_lock(mp):
    for lock in (mp.Lock(), mp.RLock()):
        value = mp.Value("i", 3, lock=lock)
        assert value.get_lock() is lock
        with value.get_lock() if "RLock" in repr(lock) else value:
            pass
        value.value += 1
        assert value.value == 4
    array = mp.Array("i", 4)
    with array.get_lock():
        array[0] = 1
    assert type(array.get_lock()) is type(mp.RLock())


def parameters(signature):
    return [(p.name, p.kind, p.default) for p in signature.parameters.values() if p.name != "self"]


def test_signatures_are_the_stdlibs():
    import cmp.synchronize
    import multiprocessing.synchronize

    for name in ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier"):
        ours, theirs = getattr(cmp.synchronize, name), getattr(multiprocessing.synchronize, name)
        assert ours.__module__ == "cmp.synchronize" and ours.__qualname__ == name
        assert parameters(inspect.signature(ours)) == parameters(inspect.signature(theirs))
        for method, there in vars(theirs).items():
            if callable(there) and not method.startswith("_"):
                here = inspect.signature(getattr(ours, method))
                assert parameters(here) == parameters(inspect.signature(there)), (name, method)
    acquire = multiprocessing.Lock().acquire
    for lock in (cmp.Lock(), cmp.RLock(), cmp.Semaphore(), cmp.Condition()):
        assert parameters(inspect.signature(lock.acquire)) == parameters(inspect.signature(acquire))


def test_a_condition_wants_a_lock(mp):
    with pytest.raises(AttributeError, match="'int' object has no attribute 'acquire'"):
        mp.Condition(3)
