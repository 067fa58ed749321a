"""Processes of many threads that put, take and lock at once, killed, terminated, stopped and continued at random."""

from __future__ import annotations

import os
import queue as queue_module
import signal
import threading
import time

import cmp

from . import locks, queues
from .harness import Arena, Victim, Words, check_empty_queue, health

CREW = 4
EVENTS_A_ROUND = 40
LOG = 20_000
LARGEST = 64 << 20

# A member's words.
BEGUN, RETURNED, CALLS, LOGGED_CALLS, LOGGED, FIRST = range(6)
# The round's words: 1 ends puts and locking, 2 ends everything.
STOP = 0


def size_of(i: int) -> int:
    """From nothing to 64 MiB, each order of magnitude as often as the next, the largest seldom."""
    bits = i * 2654435761 % 2**32 / 2**32 * (27 if i % 50 == 49 else 17)
    return min(int(2**bits) - 1, LARGEST)


def payload_of(i: int) -> bytes:
    return bytes([i % 251]) * size_of(i)


def put_items(queue, me: int, words: Words, stop: Words) -> None:
    i = 0
    while not stop[STOP]:
        item = me, i, payload_of(i)
        words[BEGUN] = i + 1
        while not stop[STOP]:
            try:
                queue.put(item, timeout=0.1)
                break
            except queue_module.Full:
                continue
        else:
            return
        i += 1
        words[RETURNED] = i
        while queue.qsize() > 8 and not stop[STOP]:
            time.sleep(0.0005)


def take_items(queue, words: Words, stop: Words) -> None:
    calls = n = 0
    while stop[STOP] < 2 and n < LOG:
        calls += 1
        words[CALLS] = calls
        try:
            producer, i, payload = queue.get(timeout=0.05)
            if payload != payload_of(i):
                queues.die(f"item {i} of producer {producer} arrived with other bytes")
            words[FIRST + n] = producer << 32 | i
            n += 1
            words[LOGGED] = n
        except queue_module.Empty:
            pass
        words[LOGGED_CALLS] = calls


def be_a_member(queue, lock, page: Words, me: int, words: Words, stop: Words) -> None:
    own = Words(2) if not Words.named else None
    threads = [
        threading.Thread(target=put_items, args=(queue, me, words, stop)),
        threading.Thread(target=take_items, args=(queue, words, stop)),
        threading.Thread(target=locks.hold, args=(lock, page, me + 1, 0, own or [0, 0])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Signals:
    """Stops some and continues them a little later."""

    def __init__(self, arena: Arena):
        self.arena, self.stopped = arena, []

    def stop(self, victim: Victim) -> None:
        os.kill(victim.pid, signal.SIGSTOP)
        self.arena.count("stopped")
        self.stopped.append((time.monotonic() + self.arena.dice.random() * 0.1, victim))

    def go_on(self, everybody: bool = False) -> None:
        now = time.monotonic()
        for until, victim in list(self.stopped):
            if everybody or until < now:
                os.kill(victim.pid, signal.SIGCONT)
                self.stopped.remove((until, victim))

    def forget(self, victim: Victim) -> None:
        self.stopped = [(until, one) for until, one in self.stopped if one is not victim]


def crowd(arena: Arena) -> None:
    spawned = arena.dice.random() < 0.2
    arena.context = cmp.get_context("spawn" if spawned else "fork")
    Words.named = spawned
    queue = arena.context.Queue(arena.dice.choice([0, 1, 8]))
    lock, page, stop = arena.context.Lock(), Words(8), Words(1)
    signals, gone = Signals(arena), []

    def another() -> None:
        words = Words(FIRST + LOG)
        me = len(gone) + len(arena.crew)
        arena.start(be_a_member, queue, lock, page, me, words, stop, words=words).number = me

    for _ in range(CREW):
        another()
    for _ in range(EVENTS_A_ROUND // (4 if spawned else 1)):
        signals.go_on()
        event = arena.dice.random()
        if event < 0.4:
            arena.pause()
            signals.stop(arena.dice.choice(arena.crew))
            continue
        mean_s = 0.05 if spawned else 0.005
        victim = arena.strike(signal.SIGTERM if event < 0.5 else signal.SIGKILL, mean_s, queue)
        signals.forget(victim)
        gone.append(victim)
        another()
        if arena.enough:
            break
    signals.go_on(everybody=True)
    stop[STOP] = page[locks.STOP] = 1
    arena.wait_until(queue.empty, "what was put is not taken")
    stop[STOP] = 2
    for victim in arena.crew:
        assert arena.join(victim, "a member hangs") == 0
    gone += arena.crew
    arena.crew.clear()
    balance(arena, queue, gone)
    arena.count("dead owners", health(lock, sweep=True)["repairs"])
    arena.context, Words.named = cmp, False


def balance(arena: Arena, queue, gone: list[Victim]) -> None:
    taken: dict[int, list[int]] = {}
    while not queue.empty():  # put at the very end
        producer, i, _ = queue.get()
        taken.setdefault(producer, []).append(i)
    for victim in gone:
        last: dict[int, int] = {}
        for word in victim.words.view[FIRST : FIRST + victim.words[LOGGED]]:
            producer, i = word >> 32, word & 0xFFFFFFFF
            assert last.get(producer, -1) < i, f"item {i} of producer {producer} came after {last[producer]}"
            last[producer] = i
            taken.setdefault(producer, []).append(i)
    inside = sum(victim.words[CALLS] != victim.words[LOGGED_CALLS] for victim in gone)
    missing = 0
    for victim in gone:
        came = taken.get(victim.number, [])
        assert len(set(came)) == len(came), f"an item of producer {victim.number} came twice"
        assert all(i < victim.words[BEGUN] for i in came), "an item came that nobody put"
        missing += len(set(range(victim.words[RETURNED])) - set(came))
        arena.count("items", len(came))
    arena.count("lost with the dead", missing)
    assert missing <= inside, f"{missing} items are missing, {inside} died inside get"
    check_empty_queue(arena, queue)
