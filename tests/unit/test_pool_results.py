"""What comes of a task: results that cannot travel, or that nobody else may have."""

from __future__ import annotations

import gc
import sys
import threading

import pytest
from support.tasks import double, pid_of, raise_error

import cmp
from cmp.pool import MaybeEncodingError


class Unreadable:
    """Pickles, and does not unpickle."""

    def __reduce__(self):
        return raise_error, (LookupError("not here"),)


class UnreadableError(Exception):
    def __init__(self, a, b):
        super().__init__(a)


def make_unreadable():
    return Unreadable()


def raise_unreadable():
    raise UnreadableError(1, 2)


# ---- workers that die ----


def test_exception_in_a_callback_is_reported_and_the_pool_goes_on(monkeypatch):
    reports, values = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reports.append(report.exc_type))
    with cmp.Pool(1) as pool:
        assert pool.apply_async(double, (1,), callback=lambda value: 1 / 0).get(100) == 2
        assert pool.apply_async(double, (2,), callback=values.append).get(100) == 4
    assert reports == [ZeroDivisionError] and values == [4]


# ---- outcomes that cannot travel ----


def test_value_that_does_not_unpickle_fails_its_own_task():
    with cmp.Pool(1) as pool:
        results = [pool.apply_async(make_unreadable), pool.apply_async(double, (1,))]
        assert results[1].get(100) == 2
        with pytest.raises(LookupError):
            results[0].get(100)
        assert not results[0].successful()


def test_exception_that_does_not_unpickle_fails_its_own_task_with_its_traceback():
    with cmp.Pool(1) as pool:
        with pytest.raises(MaybeEncodingError) as caught:
            pool.apply(raise_unreadable)
        assert "raise UnreadableError(1, 2)" in str(caught.value.__cause__)
        assert pool.apply(double, (1,)) == 2


def test_argument_that_does_not_unpickle_fails_its_own_task():
    with cmp.Pool(1) as pool:
        pid = pool.apply(pid_of)
        with pytest.raises(LookupError):
            pool.apply(double, (Unreadable(),))
        assert pool.apply(pid_of) == pid


def test_task_that_cannot_be_pickled_fails_at_get():
    with cmp.Pool(1) as pool:
        result = pool.apply_async(double, (threading.Lock(),))
        with pytest.raises(TypeError):
            result.get(100)
        assert pool.apply(double, (1,)) == 2


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_base_exception_fails_its_task_as_an_ordinary_error(error):
    with cmp.Pool(1) as pool:
        with pytest.raises(RuntimeError, match=type(error).__name__) as caught:
            pool.apply(raise_error, (error,))
        assert "raise error" in str(caught.value.__cause__)
        assert pool.apply(double, (1,)) == 2


class Owner:
    owner = None

    def is_owner_of(self, other):
        return other.owner is self


def test_what_a_bound_method_shares_with_its_arguments_stays_shared():
    owner, other = Owner(), Owner()
    other.owner = owner
    with cmp.Pool(1) as pool:
        assert pool.apply(owner.is_owner_of, (other,))
        assert pool.map(owner.is_owner_of, [other], 1) == [True]


# ---- the end ----


def repeat(piece):
    return piece * 100_000  # in a block of shared memory


def drop_and_ask(result):
    with pytest.raises(RuntimeError, match="belongs to the process that made it"):
        result[0].get()
    result.clear()
    gc.collect()


def test_forked_child_leaves_its_parents_results_alone():
    with cmp.Pool(1) as pool:
        result = [pool.apply_async(repeat, (b"a",))]
        result[0].wait()
        child = cmp.Process(target=drop_and_ask, args=(result,))
        child.start()
        child.join()
        assert child.exitcode == 0
        later = pool.apply_async(repeat, (b"b",))
        later.wait()
        assert result[0].get() == repeat(b"a") and later.get() == repeat(b"b")


# ---- start methods, and the rest ----


def test_large_arguments_and_results_travel():
    with cmp.Pool(2) as pool:
        blobs = [bytes([i]) * 3_000_000 for i in range(6)]
        assert pool.map(bytes, blobs, 1) == blobs
        results = [pool.apply_async(bytes, (blob,)) for blob in blobs]
        assert [result.get() for result in results] == blobs
