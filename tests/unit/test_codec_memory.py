"""Each allocation fails once in turn: MemoryError, nothing lost, and the codec works afterwards."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from cmp._core import _decode, _encode

_testcapi = pytest.importorskip("_testcapi")
if not hasattr(_testcapi, "set_nomemory"):
    pytest.skip("this interpreter has no failing allocator", allow_module_level=True)


@dataclasses.dataclass
class Point:
    x: object


SHARED = ["shared"]
VALUES = [
    [SHARED, "a" * 2000, b"b" * 2000, SHARED, {"key": (1, 2.5), 7: {1, "x"}}, 2**100, list(range(300)), "\u4e2d\u6587"],
    [[f"string {i}" for i in range(200)]] * 2,
    [dict.fromkeys(range(50)), frozenset(range(9)), (1.5,) * 20, Point, len],
    [Point([1, b"x" * 3000]), "text"],
    bytearray(5000),
]


def with_failure(call, number):
    _testcapi.set_nomemory(number, number + 1)
    try:
        return call()
    finally:
        _testcapi.remove_mem_hooks()


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
@pytest.mark.parametrize("what", ["encode", "decode"])
def test_every_allocation_may_fail(value, what):
    data = _encode(value)
    call = (lambda: _encode(value)) if what == "encode" else (lambda: _decode(data))
    failures = 0
    for number in range(1, 2000):
        try:
            result = with_failure(call, number)
        except (MemoryError, pickle.PicklingError):  # pickle words some of its own failures so
            failures += 1
        else:
            if what == "encode":
                result = _decode(result)
            assert result == value
            # An interpreter may do without what it could not get; ours are all counted by then.
            if number > 1000:
                break
    assert failures > 0
    assert _decode(_encode(value)) == value
