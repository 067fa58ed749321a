"""Objects that fail half-way, that are huge, deep or many; a thousand queues at once."""

from __future__ import annotations

import os
import pickle
import resource
import sys
import threading

import pytest
from support import alone

import cmp

MIB = 1 << 20


class Unwilling:
    """Fails at its `step`: when it is pickled or unpickled."""

    def __init__(self, step: str):
        self.step = step

    def __getstate__(self):
        if self.step == "pickling":
            raise ValueError("not to be pickled")
        return {"step": self.step}

    def __setstate__(self, state):
        raise ValueError("not to be unpickled")


def held(queue) -> dict[str, int]:
    """Who has blocks of its shared memory: this process, items."""
    health = cmp._core._health(queue)
    assert health["whole"]
    return {name: health[name] for name in ("held", "items", "size")}


KINDS = {
    "Queue": cmp.Queue,
    "JoinableQueue": cmp.JoinableQueue,
    "SimpleQueue": cmp.SimpleQueue,
    "SpawnQueue": lambda: cmp.get_context("spawn").Queue(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_object_failing_half_way_through_pickling_publishes_nothing(kind):
    queue = KINDS[kind]()
    queue.put([bytes(MIB)] * 3)
    queue.get()
    for filling in (1, "text", bytes(3 * MIB), [bytes(100_000)] * 40):
        for item in (
            [filling, Unwilling("pickling")],
            {"a": filling, "b": Unwilling("pickling")},
            (filling, lambda: 0),
        ):
            with pytest.raises((ValueError, pickle.PicklingError, AttributeError)):
                queue.put(item)
            assert queue.empty()
    queue.put("after")
    assert queue.get() == "after"
    if kind != "SimpleQueue":
        assert held(queue) == {"held": 0, "items": 0, "size": 0}


@pytest.mark.parametrize("kind", KINDS)
def test_object_failing_while_it_is_unpickled_is_consumed(kind):
    queue = KINDS[kind]()
    for filling in (1, bytes(3 * MIB)):
        queue.put([filling, Unwilling("unpickling")])
        queue.put("behind")
        with pytest.raises(ValueError, match="not to be unpickled"):
            queue.get()
        assert queue.get() == "behind"
        assert queue.empty()


def test_pool_s_objects_that_fail_half_way_fail_alone():
    with cmp.Pool(2) as pool:
        for step in ("pickling", "unpickling"):
            with pytest.raises(Exception, match="not to be"):
                pool.apply(len, ([bytes(3 * MIB), Unwilling(step)],))
            with pytest.raises(Exception, match="not to be"):
                pool.apply(Unwilling, (step,))
            assert pool.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]


def nested(kind: type, depth: int) -> object:
    made = kind()
    for _ in range(depth):
        made = kind([made]) if kind is not dict else {"in": made}
    return made


def depth_of(made: object) -> int:
    depth = 0
    while made:
        made = made["in"] if isinstance(made, dict) else made[0]
        depth += 1
    return depth


def deep_objects() -> None:
    queue = cmp.Queue()
    arrived = 0
    for kind in (list, tuple, dict):
        for depth in (100, 900, 5_000, 100_000):
            item = nested(kind, depth)
            try:
                queue.put(item)
            except RecursionError:
                assert depth > 500
                assert queue.empty()
            else:
                assert depth_of(queue.get()) == depth
                arrived += 1
            while item:  # taken apart by hand: not every Python's deallocation copes with the depth
                item = item["in"] if kind is dict else item[0]
    assert arrived >= 3
    queue.put("after")
    assert queue.get() == "after"


def test_deep_objects_arrive_or_are_a_recursion_error():
    alone.run(deep_objects)


def deep_objects_in_a_thread_with_little_stack() -> None:
    threading.stack_size(256 * 1024)
    sys.setrecursionlimit(1000)
    thread = threading.Thread(target=deep_objects)
    thread.start()
    thread.join()
    print("ended")


@pytest.mark.skipif(sys.version_info[:2] == (3, 13), reason="there pickle itself overflows it")
def test_deep_objects_do_not_overflow_a_thread_s_stack():
    assert alone.run(deep_objects_in_a_thread_with_little_stack) == "ended\n"


def thousand_queues() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    with alone.NothingLeft():
        queues = [cmp.Queue() for _ in range(1000)]
        child = cmp.Process(target=answer_all, args=(queues,))
        child.start()
        for number, queue in enumerate(queues):
            queue.put(number)
        child.join()
        assert child.exitcode == 0
        assert [queue.get() for queue in queues] == list(range(0, -1000, -1))
        del queues, queue, child


def answer_all(queues: list) -> None:
    for queue in queues:
        queue.put(-queue.get())


def test_thousand_queues_at_once():
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2200:
        pytest.skip("a thousand queues need two thousand descriptors")
    alone.run(thousand_queues)


# These take minutes or gigabytes: CMP_LARGE=1 (make limits) runs them, one at a time.
large = pytest.mark.skipif(not os.environ.get("CMP_LARGE"), reason="large: CMP_LARGE=1 runs it")


def available() -> int:
    with open("/proc/meminfo") as meminfo:
        return next(int(line.split()[1]) * 1024 for line in meminfo if line.startswith("MemAvailable"))


def three_gibibytes(how: str) -> None:
    item = bytearray(3 << 30)
    item[-1] = 7
    sender, receiver = cmp.Pipe()
    queue = cmp.Queue()
    send, receive = (queue.put, queue.get) if how == "queue" else (sender.send_bytes, receiver.recv_bytes)
    child = cmp.Process(target=send, args=(item,))
    child.start()
    del item
    arrived = receive()
    assert len(arrived) == 3 << 30 and arrived[-1] == 7
    child.join()
    assert child.exitcode == 0


@large
@pytest.mark.timeout(400)
@pytest.mark.parametrize("how", ["queue", "pipe"])
def test_object_of_three_gibibytes(how):
    if available() < 14 << 30:
        pytest.skip("needs 14 GiB of memory")
    alone.run(three_gibibytes, how, seconds=380)


def ten_million() -> None:
    queue = cmp.Queue()
    child = cmp.Process(target=count_up, args=(queue, 10_000_000))
    child.start()
    for number in range(10_000_000):
        assert queue.get() == number
    child.join()
    assert child.exitcode == 0 and queue.empty()
    child = cmp.Process(target=count_up, args=(queue, 10_000_000))  # now all of them at once
    child.start()
    child.join()
    assert queue.qsize() == 10_000_000
    number = 0
    while number < 10_000_000:
        for item in queue.get_many(1000):
            assert item == number
            number += 1


def count_up(queue, n: int) -> None:
    for number in range(n):
        queue.put(number)


@large
@pytest.mark.timeout(600)
def test_ten_million_small_items():
    alone.run(ten_million, seconds=580)
