"""The codec keeps what is shared and what is cyclic, however deep, as pickle does."""

from __future__ import annotations

import random

import pytest
from support.codec import by_pickle, is_pickled, same_as_pickle, travel
from support.graphs import difference, graph

from cmp._core import _encode


def test_a_list_inside_itself_comes_back_inside_itself():
    value = []
    value.append(value)
    got = travel(value)
    assert got[0] is got and len(got) == 1
    assert not is_pickled(value)


def test_cycles_through_dicts_and_tuples_are_kept():
    inner = {}
    inner["self"] = inner
    same_as_pickle([inner, inner])
    items = []
    outer = (items, 1)
    items.append(outer)
    assert is_pickled(outer)  # a tuple within itself: only pickle can
    got = travel(outer)
    assert got[0][0] is got


def test_every_tuple_of_a_tangle_of_cycles_is_found():
    lists = [[] for _ in range(8)]
    tuple_ = tuple(lists)
    for one in lists:
        one += [tuple_, lists]
    same_as_pickle(tuple_)
    same_as_pickle(lists)


def test_one_object_met_twice_is_one_object_again():
    for make in (
        lambda: [1],
        lambda: {"k": 1},
        lambda: {1},
        lambda: frozenset([1, 2]),
        lambda: tuple(iter("ab")),
        lambda: "".join(["a", "b"]),
        lambda: "".join(["\xe9", "\u4e2d"]),
        lambda: bytes([1, 2]),
        lambda: list(range(100)),
        lambda: tuple(range(1000, 1100)),
        lambda: b"x" * 5000,
        lambda: "x" * 5000,
        lambda: "x" * 300,
    ):
        value = make()
        for holder in ([value, value], (value, value), {"a": value, "b": [value]}, [[value], 0, "", (value,)]):
            assert not is_pickled(holder)
            same_as_pickle(holder)


def test_equal_objects_that_are_two_stay_two():
    a, b = "".join(["key", "word"]), "".join(["key", "word"])
    got = travel([{a: 1}, {b: 2}, a, b])
    assert [*got[0]][0] is got[2] and [*got[1]][0] is got[3] and got[2] is not got[3]


def test_an_interned_key_and_its_equal_that_is_not_interned_stay_two():
    other = "".join(["al", "pha"])
    same_as_pickle([{"alpha": 1}, other, {other: 2}, {"alpha": 3}, "alpha"])


def test_references_reach_back_over_large_parts():
    shared, large = [1], b"x" * 10000
    value = [large, shared, b"y" * 10000, shared, large, "z" * 100000, shared]
    assert not is_pickled(value)
    same_as_pickle(value)
    same_as_pickle([[i, "k%d" % (i % 7), bytes([i % 256]) * 5000, value] for i in range(300)])


def test_many_shared_objects_are_all_found_again():
    strings = ["number %d" % i for i in range(5000)]
    same_as_pickle([strings, strings[::-1], [(s, s) for s in strings]])


def test_objects_following_one_another_do_not_share():
    """Identity is kept within one object; a memo left over from the last one would show here."""
    shared = [1]
    assert _encode([shared, shared]) == _encode([shared, shared])
    assert difference(travel(shared), [1]) is None


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs_come_out_as_pickle_has_them(seed):
    rng = random.Random(seed)
    for _ in range(250):
        value = graph(rng, instances=seed % 4 == 0)
        found = difference(travel(value), by_pickle(value))
        assert found is None, (seed, found, value)


@pytest.mark.parametrize("depth", [99, 100, 101, 150, 300])
@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}, lambda x: frozenset([x])])
def test_nesting_of_any_depth_that_pickle_takes_travels(depth, wrap):
    value = ()
    for _ in range(depth):
        value = wrap(value)
    if depth <= 99:
        assert not is_pickled(value)
    got = travel(value)
    for _ in range(depth):
        got = got["k"] if isinstance(got, dict) else [*got][0]
    assert got == ()


def test_nesting_too_deep_is_pickles_error_and_does_no_harm():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(RecursionError):
        _encode(value)
    assert travel([1]) == [1]
    while value:  # taken apart here: the interpreter would do it by recursion
        value = value[0]
