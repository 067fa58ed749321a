"""Signal handlers that use the very object in whose call they interrupt their process, or end that call."""

from __future__ import annotations

import itertools
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support import alone
from support.tasks import double
from support.waiting import LONG_S

import cmp
from cmp import heirs

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def on_alarm():
    """on_alarm(handler, seconds): handler() runs once, so much later."""

    def set_off(handler, seconds=0.05):
        signal.signal(signal.SIGALRM, lambda number, frame: handler())
        signal.setitimer(signal.ITIMER_REAL, seconds)

    before = signal.getsignal(signal.SIGALRM)
    yield set_off
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


gates: dict[str, object] = {}


def wait_at_the_gate(x):
    assert gates["task"].wait(100)
    return x


@pytest.fixture
def pool():
    gates["task"] = cmp.Event()
    with cmp.Pool(2) as pool:
        yield pool
    gates.clear()


def test_handler_waits_for_a_task_while_get_does(pool, on_alarm):
    answers = []

    def handler():
        answers.append(pool.apply(double, (21,)))
        gates["task"].set()

    slow = pool.apply_async(wait_at_the_gate, (7,))
    on_alarm(handler)
    assert slow.get(timeout=100) == 7
    assert answers == [42]


def test_result_that_a_handler_took_delivery_of_is_seen_by_the_get_it_interrupted(pool, on_alarm):
    def handler():
        gates["task"].set()
        while not slow.ready():  # it is this call of apply that reads the results
            pool.apply(double, (1,))

    slow = pool.apply_async(wait_at_the_gate, (7,))
    on_alarm(handler)
    assert slow.get(timeout=100) == 7


def test_handler_waits_for_a_task_whose_worker_dies(pool, on_alarm):
    def handler():
        with pytest.raises(cmp.pool.WorkerLostError):
            pool.apply(os._exit, (3,))
        gates["task"].set()

    slow = pool.map_async(wait_at_the_gate, [7], chunksize=1)
    on_alarm(handler)
    assert slow.get(timeout=100) == [7]


def test_handler_puts_and_gets_what_an_interrupted_get_waits_for(on_alarm):
    items = cmp.Queue()

    def handler():
        for n in range(3):
            items.put(n)
        assert items.get() == 0
        with pytest.raises(queue.Empty):
            cmp.Queue().get_nowait()

    on_alarm(handler)
    assert [items.get(timeout=100), items.get(timeout=100)] == [1, 2]


def test_handler_notifies_the_wait_it_interrupts(on_alarm):
    condition = cmp.Condition()

    def handler():
        with condition:
            condition.notify()

    with condition:
        on_alarm(handler)
        assert condition.wait(100)


def test_handler_releases_what_an_interrupted_acquire_waits_for(on_alarm):
    for lock in (cmp.Lock(), cmp.Semaphore(1)):
        lock.acquire()
        on_alarm(lock.release)
        assert lock.acquire(timeout=100)


# ---- Ctrl-C while arguments are being pickled, which may run any code of theirs ----


class Interrupting:
    """Whose first pickling is interrupted; arrives as a number."""

    def __init__(self, number):
        self.number, self.before = number, False

    def __reduce__(self):
        if not self.before:
            self.before = True
            signal.raise_signal(signal.SIGINT)
        return int, (self.number,)


@pytest.mark.parametrize(
    "give",
    [
        lambda pool, argument: pool.apply(double, (argument,)),
        lambda pool, argument: pool.apply_async(double, (argument,)),
        lambda pool, argument: pool.apply_async(double, (argument,), callback=print, error_callback=print),
        lambda pool, argument: pool.map(double, [1, argument, 3]),
        lambda pool, argument: pool.map_async(double, [1, argument, 3], chunksize=1, error_callback=print),
        lambda pool, argument: pool.imap(double, [1, argument, 3]),
        lambda pool, argument: pool.imap_unordered(double, [argument]),
    ],
)
def test_control_c_while_a_task_is_made_is_raised_by_the_call(pool, give, capsys):
    with pytest.raises(KeyboardInterrupt):
        give(pool, Interrupting(2))
    assert pool.map(double, [5, 6]) == [10, 12]
    pool.close()
    pool.join()
    assert capsys.readouterr().out == ""  # nobody is called back


def test_control_c_while_next_makes_tasks_costs_no_result(pool):
    results = pool.imap(double, [1, Interrupting(2), Interrupting(3), 4], buffersize=1)
    got = []
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            got.extend(results)
    got.extend(results)
    assert got == [2, 4, 6, 8]


# ---- handlers that raise while a process is forked, or is not to be ----


class Interrupted(Exception): ...


def interrupt(call: Callable[[], None], place: int) -> bool:
    """Calls it; the place-th line of cmp's Python code that this process comes to raises, as a handler might there.
    False: it does not come to as many."""
    me, folder, places = os.getpid(), Path(cmp.__file__).parent, itertools.count()
    raised = []

    def trace(frame, event, _):
        if Path(frame.f_code.co_filename).parent != folder:
            return None
        if os.getpid() == me and event == "line" and next(places) == place:
            raised.append(frame)
            raise Interrupted
        return trace

    sys.settrace(trace)
    try:
        call()
    except Interrupted:
        pass
    finally:
        sys.settrace(None)
    return bool(raised)


def fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def hold_off_forks() -> None:
    with heirs.no_forks():
        pass


def ask_a_server() -> None:
    process = cmp.get_context("forkserver").Process(target=os.getpid)
    process.start()
    process.join()


def interrupt_and_ask(name: str) -> None:
    ask_a_server()
    for place in itertools.count():
        more = interrupt(globals()[name], place)
        asker = threading.Thread(target=ask_a_server, daemon=True)
        asker.start()
        asker.join(LONG_S)
        assert not asker.is_alive(), f"line {place} keeps the others out"
        if not more:
            break


@pytest.mark.parametrize("call", [fork, hold_off_forks])
def test_exception_of_a_handler_in_the_hooks_of_a_fork_keeps_nobody_from_asking_a_server(call):
    """Wherever it comes: in whatever this process runs before and after a fork, and where it holds forks off."""
    alone.run(interrupt_and_ask, call.__name__)
