"""NumPy's arrays through queues, pools, managers and shared memory."""

import numpy as np
from contexts import CONTEXTS

ARRAYS = [
    np.arange(12.0).reshape(3, 4),
    np.arange(1_000_000)[::3],
    np.asfortranarray(np.ones((300, 200), np.float32)),
    np.zeros((0, 5)),
    np.array(["a", "bc"]),
    np.array([None, {"k": 1}], dtype=object),
    np.zeros(3, dtype=[("x", "i4"), ("y", "f8", (2,))]),
    np.datetime64("2024-05-06"),
    np.float32(1.5),
    np.ma.masked_array([1, 2, 3], mask=[0, 1, 0]),
]


def same(a, b):
    assert type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape
    assert np.array_equal(np.asarray(a), np.asarray(b))


def echo(source, target):
    for _ in ARRAYS:
        array = source.get()
        if getattr(array, "size", 0) == 12:
            array += 1  # what arrives is writable, and one's own
            array -= 1
        target.put(array)


def total(array):
    return array.sum()


def fill(block, shape, value):
    np.frombuffer(block.get_obj())[:] = value
    return shape


def main():
    for context in CONTEXTS.values():
        there, back = context.Queue(), context.SimpleQueue()
        process = context.Process(target=echo, args=(there, back))
        process.start()
        for array in ARRAYS:
            there.put(array)
        for array in ARRAYS:
            same(back.get(), array)
        process.join()
        with context.Pool(2) as pool:
            parts = np.split(np.arange(1_000_000.0), 10)
            assert sum(pool.map(total, parts)) == sum(pool.imap_unordered(total, parts)) == 499999500000.0
            same(pool.apply(np.linspace, (0, 1, 100_000)), np.linspace(0, 1, 100_000))
        block = context.Array("d", 1000)
        process = context.Process(target=fill, args=(block, 1000, 2.5))
        process.start()
        process.join()
        assert np.frombuffer(block.get_obj()).sum() == 2500


if __name__ == "__main__":
    main()
