"""Pool: calls that wait inside other calls: callbacks, iterables and signal handlers that use pools themselves."""

from __future__ import annotations

import itertools
import signal
import threading
import time

import pytest
from support.tasks import double, sleep_for

pytestmark = pytest.mark.timeout(180)


def generate(n):
    yield from range(n)


def test_callback_may_wait_for_another_pool(mp):
    results, done = [], threading.Event()
    with mp.Pool(1) as outer, mp.Pool(1) as inner:

        def use_inner(value):
            result = inner.apply_async(double, (value,), callback=results.append)
            results.append(result.get(100))
            inner.close()
            inner.join()
            done.set()

        outer.apply_async(double, (1,), callback=use_inner)
        assert done.wait(100)
    assert results == [4, 4]


def test_callback_may_give_its_own_pool_more_work(mp):
    results, done = [], threading.Event()
    with mp.Pool(1) as pool:

        def again(value):
            results.append(value)
            if value < 64:
                pool.apply_async(double, (value,), callback=again)
            else:
                done.set()

        pool.apply_async(double, (1,), callback=again)
        assert done.wait(100)
    assert results == [2, 4, 8, 16, 32, 64]


def test_callback_may_terminate_its_pool(mp):
    pool = mp.Pool(1)
    pool.apply_async(double, (1,), callback=lambda _: pool.terminate())
    while pool._state != "TERMINATE":
        time.sleep(0.001)
    pool.join()


def test_blocked_callback_holds_up_no_other_pool(mp):
    gate, entered, done = threading.Event(), threading.Event(), threading.Event()
    with mp.Pool(1) as blocked, mp.Pool(1) as other:
        blocked.apply_async(double, (1,), callback=lambda _: (entered.set(), gate.wait(100)))
        assert entered.wait(100)
        other.apply_async(double, (1,), callback=lambda _: done.set())
        assert done.wait(100)
        gate.set()


def test_callback_comes_however_soon_after_a_result_nobody_wanted(mp):
    with mp.Pool(1) as pool:
        for _ in range(40):
            pool.apply_async(double, (1,))
            while pool._cache:
                time.sleep(0.0003)
            called = threading.Event()
            pool.apply_async(double, (2,), callback=lambda _, called=called: called.set())
            assert called.wait(100)


@pytest.mark.parametrize("length", [10, 3000])
def test_imap_may_iterate_over_an_imap(mp, length):
    with mp.Pool(2) as pool, mp.Pool(1) as other:
        expected = [4 * i for i in range(length)]
        assert list(other.imap(double, pool.imap(double, generate(length)))) == expected
        assert list(pool.imap(double, pool.imap(double, generate(length)))) == expected


def test_blocked_iterable_holds_up_no_other_pool(mp):
    gate = threading.Event()

    def stuck():
        yield 1
        gate.wait(100)

    with mp.Pool(1) as pool, mp.Pool(1) as other:
        iterator = pool.imap(double, stuck())
        assert next(iterator) == 2
        assert list(other.imap(double, generate(20))) == [2 * i for i in range(20)]
        gate.set()
        assert list(iterator) == []


def test_pool_whose_iterable_never_ends_is_terminated(mp):
    for _ in range(5):
        with mp.Pool(1) as pool:
            assert next(pool.imap(double, itertools.count(1))) == 2
        pool.join()


def test_signal_handler_may_use_the_pool_that_is_waited_for(mp):
    heard = []
    with mp.Pool(2) as pool:
        previous = signal.signal(signal.SIGUSR1, lambda *_: heard.append(pool.apply(double, (len(heard),))))
        try:
            result = pool.apply_async(sleep_for, (0.5,))
            target = threading.main_thread().ident
            timers = [threading.Timer(t, signal.pthread_kill, (target, signal.SIGUSR1)) for t in (0.1, 0.2)]
            for timer in timers:
                timer.start()
            assert result.get(100) == 0.5
            for timer in timers:
                timer.join()
        finally:
            signal.signal(signal.SIGUSR1, previous)
    assert heard == [0, 2]


def test_signal_handler_may_wait_for_what_the_main_thread_waits_for(mp):
    heard = []
    with mp.Pool(1) as pool:
        result = pool.apply_async(sleep_for, (0.3,))
        previous = signal.signal(signal.SIGALRM, lambda *_: heard.append(result.get(100)))
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            assert result.get(100) == 0.3
        finally:
            signal.signal(signal.SIGALRM, previous)
    assert heard == [0.3]


def test_signal_is_heard_while_results_keep_coming(mp):
    class Enough(Exception):
        pass

    def stop(*_):
        raise Enough

    with mp.Pool(1) as pool:
        result = pool.map_async(double, range(10_000_000), 10)
        previous = signal.signal(signal.SIGALRM, stop)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(Enough):
                result.get()
            assert not result.ready()
        finally:
            signal.signal(signal.SIGALRM, previous)


WAYS_TO_WAIT = {
    "get": lambda pool: pool.apply_async(sleep_for, (0.6,)).get(100),
    "map": lambda pool: pool.map(sleep_for, [0.3, 0.3, 0.3], 1),
    "imap": lambda pool: list(pool.imap(sleep_for, [0.3, 0.3, 0.3])),
}


@pytest.mark.parametrize("wait", WAYS_TO_WAIT.values(), ids=WAYS_TO_WAIT)
@pytest.mark.parametrize("what", ["a callback", "another thread"])
def test_signal_handler_may_wait_for_what_other_results_bring_about(mp, wait, what):
    heard = []

    def handler(*_):
        if what == "a callback":
            called = threading.Event()
            pool.apply_async(double, (4,), callback=lambda _: called.set())
            heard.append(called.wait(100))
        else:
            thread = threading.Thread(target=pool.apply, args=(double, (4,)))
            thread.start()
            thread.join(100)
            heard.append(not thread.is_alive())

    with mp.Pool(2) as pool:
        previous = signal.signal(signal.SIGALRM, handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            wait(pool)
        finally:
            signal.signal(signal.SIGALRM, previous)
    assert heard == [True]


def test_pool_ends_only_after_the_callback_that_runs(mp):
    begun, done = threading.Event(), []

    def take_long(value):
        begun.set()
        time.sleep(0.3)
        done.append(value)

    with mp.Pool(1) as pool:
        pool.apply_async(double, (2,), callback=take_long)
        assert begun.wait(100)
    assert done == [4]
