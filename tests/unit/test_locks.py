"""What cmp's locks promise beyond the standard library's: deaths, forks, cost, and what a reader of them sees."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

import cmp
from cmp import AbandonedLockWarning, synchronize

LONG_S = 20  # nobody waits that long unless something is broken
TAKE_OVER_S = 60  # promised is one second; a busy machine may be late, a hang would never end


def wait_until(fact):
    deadline = time.monotonic() + LONG_S
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.001)


def finish(*processes):
    for process in processes:
        process.join(LONG_S)
        assert process.exitcode == 0


class Holder:
    """A child that calls function(*args) and then stays inside what it entered, until it is killed."""

    def __init__(self, function, *args):
        self.there = cmp.Event()
        self.process = cmp.Process(target=self._run, args=(function, *args))
        self.process.start()
        assert self.there.wait(LONG_S)

    def _run(self, function, *args):
        function(*args)
        self.there.set()
        signal.pause()

    def kill(self):
        self.process.kill()
        self.process.join()


def asleep(condition):
    """How many wait, as the condition's repr says."""
    return int(repr(condition).rpartition(", ")[2].rstrip(")>"))


# --- take-over ---


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_lock_of_a_killed_with_is_taken_over_by_who_waits(kind):
    lock = getattr(cmp, kind)()
    holder = Holder(lock.__enter__)
    killer = threading.Timer(0.2, holder.process.kill)
    killer.start()
    with pytest.warns(AbandonedLockWarning, match=rf"process {holder.process.pid}\b"), lock:
        took = time.monotonic()
        holder.process.join()
        assert "MainProcess" in repr(lock)
    killer.join()
    assert time.monotonic() - took < TAKE_OVER_S
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lock.acquire(False)


@pytest.mark.parametrize("take", [lambda lock: lock.acquire(), lambda lock: lock.acquire(timeout=TAKE_OVER_S),
                                  lambda lock: lock.acquire(False)])  # fmt: skip
@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_lock_of_the_dead_is_taken_over_at_once(kind, take):
    lock = getattr(cmp, kind)()
    Holder(lock.__enter__).kill()
    begun = time.monotonic()
    with pytest.warns(AbandonedLockWarning):
        assert take(lock)
    assert time.monotonic() - begun < TAKE_OVER_S


def test_rlock_taken_by_acquire_is_taken_over_too():
    lock = cmp.RLock()
    Holder(lock.acquire).kill()
    with pytest.warns(AbandonedLockWarning), lock:
        pass


def test_plain_acquire_of_the_dead_stays_taken():
    lock = cmp.Lock()
    Holder(lock.acquire).kill()
    assert not lock.acquire(timeout=0.2)
    assert repr(lock) == "<Lock(owner=SomeOtherProcess)>"
    lock.release()
    with lock:
        pass


def test_only_one_of_many_waiters_takes_over():
    lock, inside, count = cmp.Lock(), cmp.RawValue("i", 0), cmp.RawValue("i", 0)

    def take():
        with warnings.catch_warnings(record=True), lock:
            inside.value += 1
            assert inside.value == 1
            count.value += 1
            inside.value -= 1

    holder = Holder(lock.__enter__)
    children = [cmp.Process(target=take) for _ in range(4)]
    for child in children:
        child.start()
    holder.kill()
    finish(*children)
    assert count.value == 4


def test_warning_that_is_an_error_leaves_the_lock_free():
    for lock in (cmp.Lock(), cmp.RLock()):
        Holder(lock.__enter__).kill()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(AbandonedLockWarning), lock:
                pytest.fail("the body must not run")
            with lock:
                pass


def test_condition_whose_lock_was_abandoned_is_held_when_the_warning_is_an_error():
    condition = cmp.Condition()
    holder = Holder(lambda: None)

    def notify_and_die():
        condition.__enter__()
        condition.notify()
        os.kill(os.getpid(), signal.SIGKILL)

    with condition:
        killer = cmp.Process(target=notify_and_die)
        killer.start()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(AbandonedLockWarning):
                condition.wait(LONG_S)
        assert condition._lock._semlock._is_mine()
    killer.join()
    holder.kill()


def test_warning_points_at_the_callers_line():
    lock = cmp.Lock()
    Holder(lock.__enter__).kill()
    with pytest.warns(AbandonedLockWarning) as caught:
        lock.acquire()
    assert Path(caught[0].filename).name == Path(__file__).name
    assert issubclass(AbandonedLockWarning, RuntimeWarning)
    assert AbandonedLockWarning.__module__ == "cmp.synchronize"


def test_child_forked_inside_the_body_releases_nothing_after_a_take_over():
    lock, leave, left = cmp.Lock(), cmp.Event(), cmp.Event()

    def fork_inside():
        lock.__enter__()
        if os.fork() == 0:
            leave.wait(LONG_S)
            lock.__exit__(None, None, None)
            left.set()
            os._exit(0)

    Holder(fork_inside).kill()
    with pytest.warns(AbandonedLockWarning), lock:
        leave.set()
        assert left.wait(LONG_S)
        assert not lock.acquire(False)
    assert lock.acquire(False)


def test_stopped_holder_is_not_dead():
    lock = cmp.Lock()
    holder = Holder(lock.__enter__)
    os.kill(holder.process.pid, signal.SIGSTOP)
    assert not lock.acquire(timeout=0.3)
    holder.kill()
    with pytest.warns(AbandonedLockWarning), lock:
        pass


# --- other deaths ---


def test_notify_passes_over_killed_waiters():
    condition = cmp.Condition()

    def wait():
        with condition:
            condition.wait()

    doomed = [cmp.Process(target=wait) for _ in range(3)]
    for child in doomed:
        child.start()
    wait_until(lambda: asleep(condition) == 3)
    last = cmp.Process(target=wait)
    last.start()
    wait_until(lambda: asleep(condition) == 4)
    for child in doomed:
        child.kill()
        child.join()
    with condition:
        condition.notify()
    finish(last)
    with condition:
        condition.notify_all()
        assert condition.wait(0.05) is False
    assert asleep(condition) == 0


def test_condition_goes_on_when_its_notifier_is_killed():
    condition = cmp.Condition()

    def notify():
        while True:
            with condition:
                condition.notify()

    notifiers = [cmp.Process(target=notify) for _ in range(2)]
    for child in notifiers:
        child.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AbandonedLockWarning)
        for child in notifiers:
            with condition:
                assert condition.wait(LONG_S)
            child.kill()
            child.join()
        with condition:
            assert condition.wait(0.05) is False


def test_event_waits_for_nobody():
    event = cmp.Event()
    waiter = Holder(lambda: event.wait(0))
    os.kill(waiter.process.pid, signal.SIGSTOP)
    event.set()
    event.clear()
    waiter.kill()
    event.set()
    assert event.wait(0)


def test_event_set_and_cleared_at_once_wakes_its_waiters():
    event, ready = cmp.Event(), cmp.Semaphore(0)

    def wait():
        ready.release()
        assert event.wait(LONG_S)

    child = cmp.Process(target=wait)
    child.start()
    assert ready.acquire(timeout=LONG_S)
    while child.is_alive():
        event.set()
        event.clear()
    finish(child)


def test_arrival_counts_though_its_process_dies():
    barrier = cmp.Barrier(2)
    child = cmp.Process(target=barrier.wait)
    child.start()
    wait_until(lambda: barrier.n_waiting == 1)
    child.kill()
    child.join()
    assert barrier.wait(LONG_S) == 1


def test_death_inside_the_action_breaks_the_barrier():
    barrier = cmp.Barrier(2, action=lambda: os.kill(os.getpid(), signal.SIGKILL))
    child = cmp.Process(target=barrier.wait)
    failed = cmp.Event()

    def wait():
        try:
            barrier.wait(LONG_S)
        except threading.BrokenBarrierError:
            failed.set()

    waiter = cmp.Process(target=wait)
    waiter.start()
    wait_until(lambda: barrier.n_waiting == 1)
    child.start()
    child.join()
    assert failed.wait(TAKE_OVER_S)
    finish(waiter)
    assert barrier.broken
    barrier.reset()
    assert not barrier.broken and barrier.n_waiting == 0


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_the_others_go_on(seed):
    """Children that use everything are killed one by one; whoever is left can still do all of it."""
    lock, condition, event, semaphore = cmp.RLock(), cmp.Condition(), cmp.Event(), cmp.Semaphore(0)
    barrier = cmp.Barrier(2)

    def work():
        warnings.simplefilter("ignore")
        while True:
            with lock, lock:
                event.set()
            with condition:
                condition.notify()
                condition.wait(0.001)
            event.clear()
            semaphore.release()
            semaphore.acquire(timeout=0.001)
            try:
                barrier.wait(0.001)
            except threading.BrokenBarrierError:
                barrier.reset()

    children = [cmp.Process(target=work) for _ in range(4)]
    for child in children:
        child.start()
    for i, child in enumerate(children):
        time.sleep(0.01 + 0.003 * (seed + i))  # where the kill lands does not matter
        child.kill()
        child.join()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AbandonedLockWarning)
        assert lock.acquire(timeout=TAKE_OVER_S)
        lock.release()
        assert condition.acquire(timeout=TAKE_OVER_S)
        condition.notify_all()
        assert condition.wait(0.01) is False
        condition.release()
    event.set()
    assert event.wait(LONG_S)
    semaphore.release()
    assert semaphore.acquire(timeout=LONG_S)
    barrier.reset()
    helper = cmp.Process(target=barrier.wait)
    helper.start()
    barrier.wait(LONG_S)
    finish(helper)


# --- many ---


def test_more_waiters_than_tickets_are_all_woken():
    condition, woken = cmp.Condition(), []
    many = 130

    def wait():
        with condition:
            assert condition.wait(LONG_S)
            woken.append(1)

    threads = [threading.Thread(target=wait) for _ in range(many)]
    for thread in threads:
        thread.start()
    wait_until(lambda: asleep(condition) == many)
    with condition:
        condition.notify(many - 5)
    wait_until(lambda: len(woken) == many - 5)
    with condition:
        condition.notify_all()
    for thread in threads:
        thread.join(LONG_S)
    assert len(woken) == many and asleep(condition) == 0


def test_more_processes_than_members_share_a_lock():
    lock, count = cmp.Lock(), cmp.RawValue("i", 0)

    def add():
        with lock:
            count.value += 1

    for _ in range(200):  # one after the other: the dead make room
        pid = os.fork()
        if pid == 0:
            add()
            os._exit(0)
        os.waitpid(pid, 0)
    assert count.value == 200


def mappings():
    return len(Path("/proc/self/maps").read_text().splitlines())


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_thousand_fork_locks_cost_no_descriptor_and_go_away():
    maps, fds = mappings(), descriptors()
    locks = [cmp.Lock() for _ in range(1000)]
    for lock in locks:
        with lock:
            pass
    assert descriptors() == fds
    del locks, lock
    gc.collect()
    assert mappings() <= maps + 5


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_locks_of_a_spawn_context_share_descriptors(method):
    fds = descriptors()
    context = cmp.get_context(method)
    locks = [context.Lock() for _ in range(600)]
    assert descriptors() <= fds + 3
    assert len({lock._where() for lock in locks}) == 600
    child = context.Process(target=acquire_all, args=(locks,))
    child.start()
    finish(child)
    assert not any(lock.acquire(False) for lock in locks)


def acquire_all(locks):
    for lock in locks:
        assert lock.acquire(False)
    # What was received does not leak into this child's own children.
    assert all(not os.get_inheritable(lock._where()[0].fileno()) for lock in locks)


def test_parent_and_forked_child_never_claim_the_same_cell():
    context = cmp.get_context("spawn")
    first = context.Lock()
    receiver, sender = cmp.Pipe(False)
    child = cmp.Process(target=lambda: sender.send([context.Lock()._where()[1] for _ in range(20)]))
    child.start()
    mine = [context.Lock() for _ in range(20)]
    theirs = receiver.recv()
    finish(child)
    receiver.close()
    sender.close()
    assert not {lock._where()[1] for lock in [first, *mine]}.intersection(theirs)


def test_cell_is_found_again_from_its_slab_and_index():
    lock = cmp.get_context("spawn").Lock()
    slab, index = lock._where()
    again = synchronize.Lock.__new__(synchronize.Lock)
    again.__setstate__((type(slab)(os.dup(slab.fileno())), index))
    with lock:
        assert not again.acquire(False)
    assert again.acquire(False) and not lock.acquire(False)
    other = synchronize.RLock.__new__(synchronize.RLock)
    with pytest.raises(RuntimeError, match="not shared memory of this version"):
        other.__setstate__((slab, index))
    with pytest.raises(TypeError):
        other.__setstate__((7, index))


@pytest.mark.parametrize(("number", "error"), [(-1, ValueError), (2**32, OverflowError), ("1", AttributeError)])
def test_slab_is_made_of_a_descriptor_s_number_only(number, error):
    slab, _ = cmp.get_context("spawn").Lock()._where()
    with pytest.raises(error):
        type(slab)(number)


# --- the objects ---


def test_use_before_init_is_an_attribute_error():
    class Forgot(synchronize.Lock):
        def __init__(self):
            pass

    lock = Forgot()
    for use in (lock.acquire, lock.release, lock.__enter__, lambda: lock._semlock):
        with pytest.raises(AttributeError, match="__init__ was not called"):
            use()
    assert repr(lock) == "<Forgot(owner=unknown)>"
    for name in ("RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier"):
        type_ = getattr(synchronize, name)
        thing = type_.__new__(type_)
        assert "unknown" in repr(thing)
        for method in ("acquire", "release", "wait", "set", "notify_all", "get_value", "abort"):
            if hasattr(type_, method):
                with pytest.raises(AttributeError):
                    getattr(thing, method)()


def test_second_init_is_refused():
    lock = cmp.Lock()
    with pytest.raises(RuntimeError):
        lock.__init__(ctx=cmp.get_context("fork"))
    with lock:
        pass


def test_no_python_frame_of_cmp_beneath_a_call():
    lock, rlock, semaphore, condition = cmp.Lock(), cmp.RLock(), cmp.Semaphore(), cmp.Condition()
    event, barrier = cmp.Event(), cmp.Barrier(1)
    seen = []

    def profile(frame, event, _):
        if event == "call" and frame.f_globals["__name__"].partition(".")[0] in ("cmp", "multiprocessing"):
            seen.append(frame.f_code.co_qualname if hasattr(frame.f_code, "co_qualname") else frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        for each in (lock, rlock, semaphore, condition):
            with each:
                pass
            each.acquire()
            each.release()
        with condition:
            condition.wait(0)
            condition.wait_for(bool, 0)
            condition.notify()
        event.set()
        event.wait()
        barrier.wait()
    finally:
        sys.setprofile(None)
    assert seen == []


@pytest.mark.parametrize("name", ["Lock", "RLock", "Semaphore", "Condition", "Event", "Barrier"])
def test_nothing_is_kept_alive(name):
    arguments = (1,) if name == "Barrier" else ()
    before = None
    for _ in range(3):
        for _ in range(300):
            thing = getattr(cmp, name)(*arguments)
            for method in ("acquire", "release", "wait_for", "set", "wait"):
                if hasattr(thing, method) and name != "Condition":
                    getattr(thing, method)()
            repr(thing)
        del thing
        gc.collect()
        now = len(gc.get_objects())
        if before is not None:
            assert now - before < 50
        before = now


def test_idle_waiters_cost_next_to_nothing():
    program = """
import cmp, os, threading, time
lock, event, condition = cmp.Lock(), cmp.Event(), cmp.Condition()
child = os.fork()
if child == 0:
    lock.__enter__()
    event.wait(100)
    os._exit(0)
while lock.acquire(False): lock.release()
threads = [threading.Thread(target=f, daemon=True) for f in (lock.__enter__, event.wait)]
for t in threads: t.start()
time.sleep(0.3)
begun = time.process_time(); time.sleep(2); print(time.process_time() - begun)
event.set(); os.waitpid(child, 0)
os._exit(0)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LONG_S,
                           env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    # Two waiting threads for two seconds, on any machine: a spinning one would take all of them.
    assert float(ended.stdout.split()[0]) < 0.02


def test_import_of_the_module_has_the_stdlibs_names():
    import multiprocessing.synchronize as theirs

    assert synchronize.__all__ == theirs.__all__
    assert (synchronize.RECURSIVE_MUTEX, synchronize.SEMAPHORE, synchronize.SEM_VALUE_MAX) == (0, 1, 2**31 - 1)
    assert issubclass(synchronize.RLock, synchronize.SemLock)
    assert synchronize.Lock(ctx=None).acquire()


class Odd(type):
    __name__ = property(lambda cls: 12)


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"])
def test_a_class_may_call_itself_anything(kind):
    lock = Odd("Strange", (getattr(synchronize, kind),), {})(ctx=cmp.get_context())
    assert repr(lock).startswith("<12(")


def test_a_condition_is_not_ready_before_it_has_its_lock():
    errors = []

    class Context:
        def get_start_method(self):
            return "fork"

        def RLock(self):  # noqa: N802
            for use in (condition.acquire, condition.release, condition.notify, lambda: condition._lock):
                try:
                    use()
                except AttributeError as error:
                    errors.append(error)
            assert "unknown" in repr(condition)
            return cmp.RLock()

    condition = synchronize.Condition.__new__(synchronize.Condition)
    condition.__init__(ctx=Context())
    assert len(errors) == 4
    with condition:
        condition.notify()


@pytest.mark.parametrize("kind", ["Lock", "Semaphore", "Condition", "Event", "Barrier"])
def test_a_state_that_is_none_is_a_type_error(kind):
    cls = getattr(synchronize, kind)
    with pytest.raises(TypeError, match="is a tuple, not 5"):
        cls.__new__(cls).__setstate__(5)


def test_a_barrier_that_is_made_twice_keeps_its_action():
    barrier = cmp.Barrier(1, action=os.getpid)
    with pytest.raises(RuntimeError, match="called before"):
        barrier.__init__(1, action=len, ctx=cmp.get_context())
    assert barrier._action is os.getpid and barrier.wait() == 0
