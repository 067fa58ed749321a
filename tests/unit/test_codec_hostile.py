"""Bytes that no encoder wrote: an exception, never a crash, and never more memory than the bytes account for."""

from __future__ import annotations

import random
import struct
import tracemalloc

import pytest
from support.codec import MARK
from support.graphs import Plain, graph

from cmp._core import _decode, _encode

# The tags of src/cmp/py/wire.h.
(
    NONE,
    FALSE,
    TRUE,
    INT1,
    INT2,
    INT4,
    INT8,
    INT_BIG,
    FLOAT,
    STR_ASCII,
    STR_UCS1,
    STR_UCS2,
    STR_UCS4,
    NAME,
    BYTES,
    TUPLE,
    LIST,
    DICT,
    SET,
    FROZENSET,
    LIST_INTS,
    TUPLE_INTS,
    LIST_FLOATS,
    TUPLE_FLOATS,
    REF,
    GLOBAL,
    PICKLE,
    INSTANCE,
) = range(1, 29)
PLAIN_CLASS = _encode(Plain(1))[: 2 + 1 + 14 + 1 + 5]  # an instance, up to its attributes
HUGE = [254, 2**16, 2**31, 2**32 - 1, 2**32, 2**40, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


def size_bytes(size: int) -> bytes:
    if size < 254:
        return bytes([size])
    return b"\xfe" + struct.pack("<I", size) if size < 2**32 else b"\xff" + struct.pack("<Q", size)


def rejected(data: bytes) -> None:
    with pytest.raises(ValueError, match="not an encoded object"):
        _decode(data)


def test_the_table_of_tags_is_the_encoders():
    expected = {
        NONE: None,
        TRUE: True,
        INT1: 1,
        INT4: 2**20,
        FLOAT: 1.5,
        STR_ASCII: "ab",
        STR_UCS4: "\U0001f600",
        BYTES: b"a",
        TUPLE: (),
        DICT: {},
        FROZENSET: frozenset(),
        TUPLE_FLOATS: (1.5,) * 20,
        GLOBAL: len,
        PICKLE: 1j,
        INSTANCE: Plain(1),
    }
    for tag, value in expected.items():
        assert _encode(value)[0] == tag


@pytest.mark.parametrize("data", [b"", b"\0", b"\x1c", b"\x7f", b"\x80", b"\xff", b"\0" * 100])
def test_no_object_is_an_error(data):
    rejected(data)


def test_bytes_left_over_are_an_error():
    rejected(_encode(1) + b"\x01")


@pytest.mark.parametrize(
    "value",
    [
        1,
        300,
        2**20,
        2**40,
        2**70,
        1.5,
        "ab",
        "a\xe9",
        "a\u4e2d",
        "a\U0001f600",
        b"abc",
        (1, "a"),
        [1, 2],
        {"key": 1},
        {1, 2},
        frozenset([1]),
        list(range(20)),
        (1.5,) * 10,
        len,
        1j,
        [[1, 2]] * 2,
        bytearray(100),
        Plain(1),
        [Plain({"k": 1})] * 2,
    ],
)
def test_every_truncation_is_an_error(value):
    data = _encode(value)
    for size in range(len(data)):
        with pytest.raises(ValueError):
            _decode(data[:size])


@pytest.mark.parametrize("tag", range(1, 29))
def test_a_size_beyond_the_bytes_asks_for_no_memory(tag):
    tracemalloc.start()
    try:
        for size in HUGE:
            for prefix in (b"", *(bytes([width]) for width in (0, 1, 2, 3, 4, 8, 255))):
                for marked in (0, MARK):
                    for rest in (b"", b"\x01" * 300):
                        try:
                            _decode(bytes([tag | marked]) + prefix + size_bytes(size) + rest)
                        except (ValueError, TypeError, ImportError):
                            pass
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("tag", [TUPLE, LIST, SET, FROZENSET, DICT])
def test_nested_promises_add_up(tag):
    """Each container alone could hold what it claims; together they exceed the bytes."""
    data = b""
    while len(data) < 2000:
        data += bytes([tag]) + size_bytes(900)
    tracemalloc.start()
    try:
        rejected(data + b"\x01" * 1000)
        assert tracemalloc.get_traced_memory()[1] < 60_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("tag", [TUPLE, LIST, SET, FROZENSET])
def test_nesting_without_end_is_an_error(tag):
    rejected(bytes([tag, 1]) * 100_000 + b"\x01")
    rejected(bytes([tag, 1]) * 101 + b"\x01")


@pytest.mark.parametrize(
    "data",
    [
        bytes([REF, 0]),  # to nothing
        bytes([MARK | REF, 0]),  # to itself
        bytes([LIST, 1, REF, 0]),  # to an object without a mark
        bytes([MARK | TUPLE, 1, REF, 0]),  # to a tuple that is being made
        bytes([MARK | FROZENSET, 1, REF, 0]),
        bytes([LIST, 2, MARK | NONE, REF, 3]),  # between two marks
        bytes([MARK | LIST, 1, REF, 1]),
        bytes([LIST_INTS, 3, 1, 0, 0, 0]),  # no such width
        bytes([STR_ASCII, 2, 0x61, 0x80]),  # not ASCII
        bytes([NAME, 2, 0x61, 0xFF]),
        bytes([STR_UCS4, 1, 0, 0, 0x11, 0]),  # beyond Unicode
        bytes([STR_UCS4, 2, *b"\xff\xff\xff\xff\0\0\0\1"]),
        bytes([NAME, 33]) + b"a" * 33,
        bytes([GLOBAL, 0, 1]) + b"a",
        bytes([GLOBAL, 1, 0]) + b"a",
        bytes([INSTANCE, NONE, NONE]),  # of no class
        bytes([INSTANCE, INT1, 1, DICT, 0]),
        bytes([MARK | INSTANCE, REF, 0, NONE]),  # of itself
        PLAIN_CLASS,
        PLAIN_CLASS + bytes([DICT]),
        PLAIN_CLASS + bytes([DICT, 1, NAME, 2, *b"ab"]),
        PLAIN_CLASS + bytes([LIST, 0]),  # with attributes that are no dict
        PLAIN_CLASS + bytes([INT1, 1]),
    ],
)
def test_what_cannot_be_is_an_error(data):
    rejected(data)


def test_other_impossible_contents_are_errors_too():
    for data, error in [
        (bytes([DICT, 1, LIST, 0, NONE]), TypeError),  # an unhashable key
        (bytes([SET, 1, DICT, 0]), TypeError),
        (bytes([GLOBAL, 2, *b"no", 2, *b"no"]), ImportError),
        (bytes([GLOBAL, 2, *b"os", 2, *b"no"]), AttributeError),
        (bytes([GLOBAL, 2, *b"os", 2, *b"a."]), AttributeError),
        (bytes([GLOBAL, 2, *b"\xc3\xa9", 2, *b"no"]), ValueError),
    ]:
        with pytest.raises(error):
            _decode(data)


def test_a_replaced_dict_value_may_still_be_referred_to():
    """A key given twice drops the first value, which a mark must have kept alive."""
    data = bytes([LIST, 2, DICT, 2, INT1, 1, MARK | LIST, 1, INT1, 5, INT1, 1, NONE, REF, 6])
    assert _decode(data) == [{1: None}, [5]]


def pickle_data(pickle_size, nbuffers, sizes=(), rest=b"N."):
    return (
        bytes([PICKLE])
        + struct.pack("<QQ", pickle_size, nbuffers)
        + b"".join(struct.pack("<Q", size) for size in sizes)
        + rest
    )


def test_sizes_of_a_pickle_are_checked():
    assert _decode(pickle_data(2, 0)) is None
    assert _decode(pickle_data(2, 1, [3], b"N.abc")) is None
    for size in HUGE:
        rejected(pickle_data(size, 0))
        rejected(pickle_data(2, size))
        rejected(pickle_data(2, 1, [size], b"N.abc"))
        rejected(pickle_data(2, 2, [1, size], b"N.abc"))
        rejected(pickle_data(2, 2, [2**64 - size, size], b"N.abc"))
    rejected(pickle_data(3, 1, [3], b"N.abc"))


def mutate(rng: random.Random, data: bytes) -> bytes:
    mutated = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        if not mutated:
            break
        place = rng.randrange(len(mutated))
        kind = rng.randrange(6)
        if kind == 0:
            mutated[place] = rng.randrange(256)
        elif kind == 1:
            mutated[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del mutated[place : place + rng.randrange(1, 9)]
        elif kind == 3:
            mutated[place:place] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 5)))
        elif kind == 4:
            mutated[place] = rng.choice([0, 1, 127, 128, 253, 254, 255, MARK | LIST, REF, DICT, TUPLE, SET])
        else:
            other = rng.randrange(len(mutated))
            mutated[place : place + 8] = mutated[other : other + 8]
    return bytes(mutated)


def fuzz(seed: int, rounds: int) -> int:
    """Decodes mutants of valid encodings; gives how many were still objects. Raises what must not happen."""
    rng = random.Random(seed)
    survived = 0
    for _ in range(rounds):
        try:
            data = _encode(graph(rng))
        except RecursionError:
            continue
        for _ in range(10):
            mutant = mutate(rng, data)
            # What unpickling does with arbitrary bytes is pickle's affair (it may run anything), and so is what an
            # import of an arbitrary module does.
            if any(byte & 0x7F in (PICKLE, GLOBAL) for byte in mutant):
                continue
            try:
                value = _decode(mutant)
            except (ValueError, TypeError):
                continue
            survived += 1
            repr(value)  # walks all of it
            _encode(value)
    return survived


@pytest.mark.parametrize("seed", range(5))
def test_mutants_of_valid_encodings_do_no_harm(seed):
    assert fuzz(seed, 80) > 0
