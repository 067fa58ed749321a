"""Large buffers: out of band into private memory that is used again, and nothing else."""

from __future__ import annotations

import gc
import os
import pickle
import queue
import resource
import threading
from array import array
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
from support.codec import travel

import cmp
from cmp._core import _decode, _encode

MIB = 1 << 20


class Holder:
    """Pickles its memory out of band, and comes back holding whatever buffer arrived."""

    def __init__(self, content):
        self.content = content

    def __reduce_ex__(self, protocol):
        assert protocol == 5
        return (Holder, (pickle.PickleBuffer(self.content),))


def mapped_kib() -> int:
    """Address space of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize() // 1024


def address(buffer) -> int:
    import ctypes

    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 65535, 65536, MIB - 1, MIB, MIB + 1, 3 * MIB])
def test_buffers_of_any_size_keep_value_and_writability(size):
    content = os.urandom(size)
    got = travel(Holder(bytearray(content))).content
    with memoryview(got) as view:
        assert view == content and not view.readonly
        if size:
            view[size - 1] ^= 1
            assert view[size - 1] == content[-1] ^ 1
    with memoryview(travel(Holder(content)).content) as view:
        assert view == content and view.readonly


def test_several_buffers_in_one_object_keep_their_order():
    contents = [os.urandom(size) for size in (5000, 0, 10, 2 * MIB, 4096, MIB)]
    got = travel([Holder(bytearray(content)) for content in contents])
    assert [bytes(one.content) for one in got] == contents


def test_one_buffer_met_twice_is_shared_as_pickle_shares_it():
    holder = Holder(bytearray(10_000))
    got = travel([holder, holder])
    assert got[0] is got[1]


@pytest.mark.parametrize("make", [bytearray, bytes])
@pytest.mark.parametrize("size", [0, 10, 4096, 100_000, 3 * MIB])
def test_bytes_and_bytearray_keep_type_and_value(make, size):
    value = make(os.urandom(size))
    for wrapped in (value, [value], {"k": (value, {1.5: value})}):
        got = travel(wrapped)
        assert got == wrapped
    assert type(travel(value)) is make
    assert type(travel(array("d", range(size // 8)))) is array


def test_a_bytearray_can_be_resized_while_encoded_bytes_are_about():
    value = bytearray(200_000)
    data = _encode(value)
    value += b"more"
    assert len(_decode(data)) == 200_000


def test_memory_is_used_again_last_in_first_out():
    kept = travel(Holder(bytearray(4 * MIB))).content
    place = address(kept)
    del kept
    for _ in range(5):
        again = travel(Holder(bytearray(b"x") * (4 * MIB))).content
        assert address(again) == place
        del again
    first, second = (travel(Holder(bytearray(4 * MIB))).content for _ in range(2))
    places = address(first), address(second)
    assert places[0] != places[1]
    del first
    del second
    assert address(travel(Holder(bytearray(4 * MIB))).content) == places[1]


def test_memory_still_looked_at_is_not_used_again():
    got = travel(Holder(bytearray(b"a") * (2 * MIB))).content
    view = memoryview(got)[5:10]
    del got
    other = travel(Holder(bytearray(b"b") * (2 * MIB))).content
    assert bytes(view) == b"aaaaa" and bytes(memoryview(other)[:1]) == b"b"


def test_the_cache_is_bounded():
    if "libasan" in Path("/proc/self/maps").read_text():
        pytest.skip("the sanitizer holds freed memory back")
    before = mapped_kib()
    for _ in range(3):
        kept = [travel(Holder(bytearray(2 * MIB))).content for _ in range(150)]
        del kept
        gc.collect()
    # Sixty-four mappings at most; the rest of the allowance is malloc's.
    assert mapped_kib() - before < 64 * 2048 + 20_000


def test_a_process_that_waits_gives_the_memory_back():
    kept = [travel(Holder(bytearray(8 * MIB))).content for _ in range(4)]
    del kept
    before = mapped_kib()
    with pytest.raises(queue.Empty):
        cmp.Queue().get(timeout=1.05)
    assert before - mapped_kib() >= 4 * 8 * 1024


def test_a_small_buffer_does_not_hold_a_large_mapping():
    large = travel(Holder(bytearray(64 * MIB))).content
    place = address(large)
    del large
    small = travel(Holder(bytearray(2 * MIB))).content
    assert address(small) != place


def test_a_child_sees_arrays_and_has_its_own_memory():
    content = os.urandom(4 * MIB)
    alive = travel(Holder(bytearray(content))).content
    several = [travel(Holder(bytearray(4 * MIB))).content for _ in range(3)]
    del several  # these now lie in the cache
    child = os.fork()
    if child == 0:
        status = 1
        try:
            ok = bytes(alive) == content
            for fill in (b"1", b"2", b"3"):
                got = travel(Holder(bytearray(fill) * (4 * MIB))).content
                ok = ok and bytes(got) == fill * (4 * MIB)
                del got
            memoryview(alive)[0] ^= 255
            del alive
            again = travel(Holder(bytearray(b"z") * (4 * MIB))).content
            status = 0 if ok and bytes(again) == b"z" * (4 * MIB) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bytes(alive) == content
    got = travel(Holder(bytearray(b"p") * (4 * MIB))).content
    assert bytes(got) == b"p" * (4 * MIB)


def test_threads_decode_large_values_side_by_side():
    data = [(_encode(Holder(bytearray(bytes([i]) * (3 * MIB)))), _encode(bytes([i]) * (2 * MIB)), i) for i in range(4)]
    wrong = []

    def run(pickled, plain, i):
        for _ in range(10):
            got = _decode(pickled).content
            if bytes(got) != bytes([i]) * (3 * MIB) or _decode(plain) != bytes([i]) * (2 * MIB):
                wrong.append(i)

    threads = [threading.Thread(target=run, args=one) for one in data]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_exporter_cannot_be_made_by_hand():
    kind = type(travel(Holder(bytearray(10_000))).content)
    assert kind.__name__ == "Buffer"
    with pytest.raises(TypeError):
        kind()
    with pytest.raises(TypeError):
        kind.extra = 1


# ---- NumPy ----


def test_arrays_keep_dtype_order_and_writability():
    np = pytest.importorskip("numpy")
    arrays = [
        np.arange(10),
        np.arange(100_000.0),
        np.asfortranarray(np.arange(60_000).reshape(200, 300)),
        np.arange(1_000_000, dtype=np.int8)[::3],
        np.zeros((0, 5)),
        np.array(5.0),
        np.array(["a", "bc"] * 3000),
        np.array([1, "x", None], dtype=object),
        np.zeros(9000, dtype=[("a", "i4"), ("b", "f8")]),
        np.arange(300_000).reshape(3, 100, 1000).transpose(2, 0, 1),
        np.float64(1.5),
        np.int8(3),
    ]
    for value in arrays:
        got = travel(value)
        assert type(got) is type(value) and got.dtype == value.dtype and (got == value).all()
        assert got.shape == value.shape
        if isinstance(value, np.ndarray):
            assert got.flags.writeable and got.flags.f_contiguous == value.flags.f_contiguous or value.ndim < 2


@pytest.mark.parametrize("size", [8, 400_000])
def test_arrays_that_may_not_be_written_to_arrive_as_the_stdlib_has_them(size):
    np = pytest.importorskip("numpy")
    for frozen in (np.frombuffer(bytes(size), dtype=np.uint8), np.broadcast_to(np.arange(size // 8), (2, size // 8))):
        assert not frozen.flags.writeable
        got, theirs = travel(frozen), ForkingPickler.loads(ForkingPickler.dumps(frozen))
        assert (got == frozen).all() and got.flags.writeable == theirs.flags.writeable
        if got.flags.writeable:
            got[...] = 7
        assert not frozen.any() or frozen[0][-1] == size // 8 - 1


def test_arrays_that_share_an_object_share_it_again():
    np = pytest.importorskip("numpy")
    array_ = np.arange(300_000)
    got = travel({"a": array_, "b": [array_, array_ + 1]})
    assert got["a"] is got["b"][0]
    got["a"][0] = 77
    assert got["b"][0][0] == 77 and got["b"][1][0] == 1


def test_an_array_that_arrived_travels_on():
    np = pytest.importorskip("numpy")
    value = np.arange(500_000)
    for _ in range(4):
        value = travel(value) + 1
    assert (value == np.arange(4, 500_004)).all()
    part = travel(travel(np.arange(500_000))[100:300_000])
    assert (part == np.arange(100, 300_000)).all()
