"""The kernel's out-of-memory killer, in a control group of our own: a SIGKILL like others, not met by a mere put."""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import time
from pathlib import Path

import pytest
from support import alone
from support.waiting import LONG_S

import cmp
from cmp import _core
from cmp.pool import WorkerLostError

MIB = 1 << 20
LIMIT = 96 * MIB
# Where groups that limit memory are made, the names of the limits and of the count of kills: version 2, then 1.
KINDS = [
    (Path("/sys/fs/cgroup"), ["memory.max", "memory.swap.max"], "memory.events"),
    (Path("/sys/fs/cgroup/memory"), ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"], "memory.oom_control"),
]


class Group:
    def __init__(self, folder: Path, counts: str):
        self.folder, self.counts = folder, counts

    @property
    def kills(self) -> int:
        words = (self.folder / self.counts).read_text().split()
        return int(words[words.index("oom_kill") + 1])


@pytest.fixture
def group():
    """A group of processes that may use LIMIT bytes between them."""
    for root, limits, counts in KINDS:
        folder = root / f"cmp-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            try:
                if not (folder / counts).exists():  # no such group, or a folder like any other
                    continue
                for limit in limits:
                    if limit == limits[0] or (folder / limit).exists():
                        (folder / limit).write_text("0" if "swap" in limit else str(LIMIT))
                made = Group(folder, counts)
                assert made.kills == 0
            except (OSError, ValueError):
                continue
            yield made
            return
        finally:
            remove(folder)
    pytest.skip("no control group that limits memory can be made here")


def remove(folder: Path) -> None:
    """Its processes are gone; a moment later the kernel knows."""
    deadline = time.monotonic() + LONG_S
    while True:
        try:
            folder.rmdir()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def enter(folder: str) -> None:
    Path(folder, "cgroup.procs").write_text(str(os.getpid()))


def eat(folder: str) -> None:
    enter(folder)
    eaten = []
    while True:
        eaten.append(os.urandom(MIB))


def worker_eats(folder: str) -> None:
    with cmp.Pool(2) as pool:
        eater = pool.apply_async(eat, (folder,))
        others = pool.map_async(abs, range(-2000, 0), 1)
        try:
            eater.get(LONG_S)
        except WorkerLostError as error:
            assert error.exitcode == -signal.SIGKILL and "eat" in str(error), error
        else:
            raise AssertionError("there was memory")
        assert others.get(LONG_S) == list(range(2000, 0, -1))
        assert pool.map(abs, range(-9, 0)) == list(range(9, 0, -1))


def test_worker_that_runs_out_of_memory_is_lost_and_its_pool_goes_on(group):
    alone.run(worker_eats, str(group.folder))
    assert group.kills == 1


def put_large(queue, folder: str, said) -> None:
    enter(folder)
    # Never written, and private: the kernel's one page of zeros, which takes no memory.
    with mmap.mmap(-1, 4 * LIMIT, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ) as nothing:
        try:
            queue.put(pickle.PickleBuffer(nothing))
        except MemoryError:
            said.put("MemoryError")
        else:
            said.put("no error")


def put_in_a_small_group(folder: str) -> None:
    queue, said = cmp.Queue(), cmp.Queue()
    producer = cmp.Process(target=put_large, args=(queue, folder, said))
    producer.start()
    assert said.get(timeout=LONG_S) == "MemoryError"
    producer.join(LONG_S)
    assert producer.exitcode == 0
    check(queue)


def check(queue) -> None:
    """The queue is whole, empty and of use."""
    queue.put(bytes(MIB))
    assert len(queue.get(timeout=LONG_S)) == MIB
    found = _core._health(queue, sweep=True)
    expected = {"whole": True, "size": 0, "items": 0, "held": 0, "returned": 0, "dead": 0}
    assert {name: found[name] for name in expected} == expected, found


def test_put_of_more_than_the_group_has_is_a_memory_error_and_no_kill(group):
    alone.run(put_in_a_small_group, str(group.folder))
    assert group.kills == 0


def killed_while_it_puts(folder: str) -> None:
    queue, said = cmp.Queue(), cmp.Queue()
    producer = cmp.Process(target=put_large, args=(queue, folder, said))
    producer.start()
    producer.join(LONG_S)
    assert producer.exitcode == -signal.SIGKILL
    assert queue.empty() and said.empty()
    check(queue)


def test_producer_killed_for_want_of_memory_in_its_put_leaves_nothing(group):
    """A budget that somebody has set is believed, so that the kernel stops the copying half-way."""
    alone.run(killed_while_it_puts, str(group.folder), env={"CMP_MEMORY": "8G"})
    assert group.kills == 1
