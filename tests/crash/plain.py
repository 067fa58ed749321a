"""Queues and locks by themselves: a producer, a consumer, or one who uses all kinds of locks, killed at every store."""

from __future__ import annotations

import queue as queues
import signal
import struct
import threading
import warnings
from functools import partial

import cmp
from cmp import _core
from cmp.synchronize import AbandonedLockWarning

from .harness import Run, note_death

ITEMS = 30
SIZES = [10, 300, 5000, 70_000, 1_200_000]
LONG_S = 20
DONE = 64  # where in the run's page the victim writes how many of its calls have returned


def done(play: Run) -> int:
    return struct.unpack_from("I", play.page, DONE)[0]


def note_done(play: Run, calls: int) -> None:
    struct.pack_into("I", play.page, DONE, calls)


def item(k: int) -> tuple[int, bytes]:
    return k, bytes([k]) * SIZES[k % len(SIZES)]


def wait_for_victim(play: Run, victim) -> None:
    victim.join(LONG_S)
    assert victim.exitcode in (0, -signal.SIGKILL), victim.exitcode
    if victim.exitcode != 0:
        note_death(play)


def check_queue(queue) -> None:
    """It is empty, of use, and the dead hold nothing of it."""
    queue.put("last")
    assert queue.get(timeout=LONG_S) == "last"
    found = _core._health(queue, sweep=True)
    expected = {"whole": True, "size": 0, "items": 0, "held": 0, "returned": 0, "dead": 0}
    assert {name: found[name] for name in expected} == expected, found


def put_all(play: Run, queue) -> None:
    play.arm()
    for k in range(0, ITEMS, 3):
        queue.put(item(k))
        note_done(play, k + 1)
        queue.put_many([item(k + 1), item(k + 2)])
        note_done(play, k + 3)


def producer(play: Run, **options) -> None:
    """What it has put arrives once and in order, and of the call that it died in a beginning at most."""
    queue = cmp.Queue(**options)
    victim = cmp.Process(target=put_all, args=(play, queue))
    victim.start()
    came = []
    while victim.is_alive() or not queue.empty():
        try:
            came.append(queue.get(timeout=0.05))
        except queues.Empty:
            pass
    wait_for_victim(play, victim)
    assert came == [item(k) for k in range(len(came))]
    assert done(play) <= len(came) <= done(play) + 2, (done(play), len(came))
    check_queue(queue)


def take_all(play: Run, queue) -> None:
    play.arm()
    taken = 0
    while taken < ITEMS:
        got = [queue.get()] if taken % 3 == 0 else queue.get_many(2)
        assert got == [item(taken + i) for i in range(len(got))]
        taken += len(got)
        note_done(play, taken)


def consumer(play: Run, **options) -> None:
    """What its last call had taken goes with it; the rest is taken by others."""
    queue = cmp.Queue(**options)
    victim = cmp.Process(target=take_all, args=(play, queue))
    victim.start()
    put = 0
    while put < ITEMS and victim.is_alive():
        try:
            queue.put(item(put), timeout=0.05)
            put += 1
        except queues.Full:
            pass
    wait_for_victim(play, victim)
    left = []
    while not queue.empty():
        left.append(queue.get(timeout=LONG_S))
    assert left == [item(k) for k in range(put - len(left), put)]
    lost = put - len(left) - done(play)
    assert 0 <= lost <= 2, (put, len(left), done(play))
    check_queue(queue)


class Things:
    """One of each kind."""

    def __init__(self, context):
        self.lock, self.rlock, self.condition = context.Lock(), context.RLock(), context.Condition()
        self.semaphore, self.event, self.barrier = context.Semaphore(2), context.Event(), context.Barrier(2, int)

    def use(self) -> None:
        """Every call, three times. Who is not alone here meets the others at the barrier, and is notified."""
        for _ in range(3):
            with self.lock, self.rlock, self.rlock:
                pass
            assert self.rlock.acquire(timeout=LONG_S)
            self.rlock.release()
            self.semaphore.acquire(timeout=0.2)
            self.semaphore.release()
            with self.condition:
                self.condition.notify()
                self.condition.wait(0.002)
                self.condition.notify_all()
            self.event.set()
            self.event.wait(0.2)
            self.event.clear()
            try:
                self.barrier.wait(0.02)
            except threading.BrokenBarrierError:
                self.barrier.reset()


def use_armed(play: Run, things: Things) -> None:
    warnings.simplefilter("ignore", AbandonedLockWarning)
    play.arm()
    things.use()


def use_until(things: Things, enough) -> None:
    warnings.simplefilter("ignore", AbandonedLockWarning)
    while not enough.is_set():
        things.use()


def locks(play: Run, kind: str) -> None:
    """A partner uses the same locks all the while, and goes on; so does everybody afterwards."""
    warnings.simplefilter("ignore", AbandonedLockWarning)
    things, enough = Things(cmp.get_context(kind)), cmp.Event()
    partner = cmp.Process(target=use_until, args=(things, enough))
    victim = cmp.Process(target=use_armed, args=(play, things))
    partner.start()
    victim.start()
    wait_for_victim(play, victim)
    enough.set()
    partner.join(LONG_S)
    assert partner.exitcode == 0, partner.exitcode
    things.use()
    things.barrier.reset()
    other = cmp.Process(target=things.barrier.wait, args=(LONG_S,))
    other.start()
    things.barrier.wait(LONG_S)
    other.join(LONG_S)
    assert other.exitcode == 0 and not things.barrier.broken
    for thing in (things.lock, things.rlock, things.condition, things.semaphore, things.event, things.barrier):
        found = _core._health(thing, sweep=True)
        assert found["dead"] == 0 and found["tickets"] == 0, (thing, found)
    assert things.semaphore.get_value() >= 1, "more than the dead one's share is gone"


WALKS = {
    "queue-producer": (producer, {}),
    "queue-producer-bounded": (partial(producer, maxsize=2), {}),
    "queue-consumer": (consumer, {}),
    "queue-consumer-bounded": (partial(consumer, maxsize=2), {}),
    "locks-fork": (partial(locks, kind="fork"), {}),
    "locks-spawn": (partial(locks, kind="spawn"), {}),
}
SHORT = ["locks-fork"]
