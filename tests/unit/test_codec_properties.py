"""The codec against pickle, on graphs that hypothesis chooses and shrinks."""

from __future__ import annotations

import pytest
from support.codec import same_as_pickle
from support.graphs import graph

from cmp._core import _decode, _encode

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

settings = hypothesis.settings(max_examples=100, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.text(st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF))
)
plain = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner)
        | st.lists(inner).map(tuple)
        | st.sets(st.integers() | st.text())
    ),
    max_leaves=40,
)


@settings
@hypothesis.given(plain)
def test_plain_objects_come_out_as_pickle_has_them(value):
    same_as_pickle(value)


@settings
@hypothesis.given(st.randoms(use_true_random=False), st.booleans())
def test_graphs_with_sharing_and_cycles_come_out_as_pickle_has_them(rng, instances):
    same_as_pickle(graph(rng, instances))


@settings
@hypothesis.given(st.lists(st.integers() | st.integers(-(2**63), 2**63 - 1), min_size=5, max_size=300))
def test_lists_of_integers_come_out_as_pickle_has_them(value):
    same_as_pickle(value)
    same_as_pickle(tuple(value))


@settings
@hypothesis.given(st.lists(st.floats() | st.floats(width=16), min_size=5))
def test_lists_of_floats_come_out_as_pickle_has_them(value):
    same_as_pickle(value)


@settings
@hypothesis.given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_an_exception(data):
    hypothesis.assume(not any(byte & 0x7F in (26, 27) for byte in data))  # names and pickles: see test_codec_hostile
    try:
        value = _decode(data)
    except (ValueError, TypeError):
        return
    same_as_pickle(value)


@settings
@hypothesis.given(
    st.lists(st.integers(0, 255), max_size=40).flatmap(
        lambda tail: st.builds(
            lambda head: bytes(head + tail),
            st.lists(
                st.sampled_from([16, 17, 18, 19, 20, 21, 0x90, 0x91, 0x92, 0x93, 0x94, 25, 1, 2, 3, 4, 10, 14]),
                max_size=30,
            ),
        )
    )
)
def test_bytes_that_look_like_containers_are_an_object_or_an_exception(data):
    hypothesis.assume(not any(byte & 0x7F in (26, 27) for byte in data))
    try:
        value = _decode(data)
    except (ValueError, TypeError):
        return
    repr(value)
    _encode(value)
