"""Producers and consumers of a Queue, killed in the middle of their calls; then the books are made up."""

from __future__ import annotations

import os
import time

from .harness import PATIENCE_S, Arena, Victim, Words, check_empty_queue

BASE = os.urandom(1 << 17)
CREW = 3
KILLS_A_ROUND = 50


def tiny(i: int) -> bytes:
    return b""


def inline(i: int) -> bytes:
    return BASE[i % 97 : i % 97 + i * 37 % 1000]


def block(i: int) -> bytes:
    return BASE[i % 101 : i % 101 + i * 7919 % 70_000]


def mixed(i: int) -> bytes:
    return (tiny, inline, block)[i * 31 % 7 % 3](i)


# What an item carries, and how far a producer of an unbounded queue may run ahead.
SHAPES = {"tiny": (tiny, 20_000), "inline": (inline, 3_000), "block": (block, 100), "mixed": (mixed, 200)}


def make_item(shape: str, producer: int, i: int):
    if shape == "tiny":
        return producer << 32 | i
    return producer, i, SHAPES[shape][0](i)


def read_item(shape: str, item) -> tuple[int, int]:
    """(producer, number), its bytes checked."""
    if shape == "tiny":
        return item >> 32, item & 0xFFFFFFFF
    producer, i, payload = item
    assert payload == SHAPES[shape][0](i), f"item {i} of producer {producer} arrived with other bytes"
    return producer, i


def die(what: str) -> None:
    """A survivor says what is wrong, and everybody can see that it ended."""
    os.write(2, f"TORTURE: {what}\n".encode())
    os._exit(77)


def pick_queue(arena: Arena):
    """(queue, shape, capacity, batch) of a round."""
    capacity = arena.dice.choice([0, 0, 1, 2, 50, 1000])
    shape = arena.dice.choice(list(SHAPES))
    kind = arena.dice.choice(["Queue", "Queue", "SimpleQueue", "JoinableQueue"])
    batch = arena.dice.choice([1, 1, 1, 7, 40]) if kind != "SimpleQueue" else 1
    queue = arena.context.SimpleQueue() if kind == "SimpleQueue" else getattr(arena.context, kind)(capacity)
    if arena.dice.random() < 0.15:
        queue._reader.fileno()  # armed: each put and each last take touches the eventfd, too
    return queue, shape, batch


# ---- producers are killed ----


def produce(queue, shape: str, batch: int, me: int, words: Words, got: Words, stop: Words) -> None:
    """words: [0] items begun to be put, [1] items whose put has returned."""
    lead = SHAPES[shape][1]
    i = 0
    while not stop[0]:
        words[0] = i + batch
        if batch == 1:
            queue.put(make_item(shape, me, i))
        else:
            queue.put_many([make_item(shape, me, k) for k in range(i, i + batch)])
        i += batch
        words[1] = i
        while i - got[me] > lead and not stop[0]:
            time.sleep(0.0002)


def collect(queue, shape: str, got: Words) -> None:
    while True:
        item = queue.get()
        if item is None:
            return
        producer, i = read_item(shape, item)
        if i != got[producer]:
            die(f"producer {producer}: item {i} came where {got[producer]} was due")
        got[producer] = i + 1


def producers(arena: Arena, pick=pick_queue) -> None:
    queue, shape, batch = pick(arena)
    got, stop = Words(KILLS_A_ROUND + CREW), Words(1)
    gone: list[Victim] = []
    collector = arena.start(collect, queue, shape, got, crew=False)

    def another(number: int) -> None:
        words = Words(2)
        arena.start(produce, queue, shape, batch, number, words, got, stop, words=words).number = number

    for number in range(CREW):
        another(number)
    for number in range(CREW, KILLS_A_ROUND + CREW):
        gone.append(arena.strike(queue=queue))
        arena.alive(collector, "the consumer")
        if arena.enough:
            break
        another(number)
    stop[0] = 1
    for victim in arena.crew:
        assert arena.join(victim, "a producer does not end") == 0
    gone += arena.crew
    arena.crew.clear()
    queue.put(None)
    assert arena.join(collector, "the consumer hangs") == 0
    for victim in gone:
        begun, returned = victim.words[0], victim.words[1]
        came = got[victim.number]
        arena.count("items", came)
        assert returned <= came <= begun, (
            f"producer {victim.number} ({shape}, batch {batch}): {returned} puts returned, {begun} begun, {came} came"
        )
    check_empty_queue(arena, queue)


# ---- consumers are killed ----

LOG = 30_000


def consume(queue, shape: str, batch: int, words: Words) -> None:
    """words: [0] calls begun, [1] calls whose items are in the log, [2] items in the log, [3:] the log. Ends when the
    log is full, or at None, which it leaves to the next."""
    calls = n = 0
    ended = False
    while n < LOG - batch and not ended:
        calls += 1
        words[0] = calls
        items = [queue.get()] if batch == 1 else queue.get_many(batch)
        if items[-1] is None:
            ended = True
            queue.put(items.pop())
        for item in items:
            producer, i = read_item(shape, item)
            words[3 + n] = producer << 32 | i
            n += 1
        words[2] = n
        words[1] = calls


def feed(queue, shape: str, batch: int, me: int, words: Words, stop: Words) -> None:
    lead = SHAPES[shape][1]
    i = 0
    while not stop[0]:
        if batch == 1:
            queue.put(make_item(shape, me, i))
        else:
            queue.put_many([make_item(shape, me, k) for k in range(i, i + batch)])
        i += batch
        words[me] = i
        while queue.qsize() > lead and not stop[0]:
            time.sleep(0.0002)


def read_log(victim: Victim, taken: dict[int, list[int]]) -> None:
    """Adds what it took; each consumer sees each producer's items in order."""
    last: dict[int, int] = {}
    for word in victim.words.view[3 : 3 + victim.words[2]]:
        producer, i = word >> 32, word & 0xFFFFFFFF
        assert last.get(producer, -1) < i, f"consumer {victim.number}: item {i} after {last[producer]}"
        last[producer] = i
        taken.setdefault(producer, []).append(i)


def consumers(arena: Arena, pick=pick_queue) -> None:
    queue, shape, batch = pick(arena)
    if not hasattr(queue, "qsize"):
        return  # a SimpleQueue cannot be paced
    put, stop = Words(2), Words(1)
    taken: dict[int, list[int]] = {}
    gone: list[Victim] = []
    feeders = [arena.start(feed, queue, shape, batch, k, put, stop, crew=False) for k in range(2)]

    def another() -> None:
        words = Words(3 + LOG)
        arena.start(consume, queue, shape, batch, words, words=words)

    def replace_full() -> None:
        for victim in [v for v in arena.crew if v.process.exitcode == 0]:
            arena.crew.remove(victim)
            gone.append(victim)
            another()

    def drained() -> bool:
        replace_full()
        return all(f.process.exitcode is not None for f in feeders) and queue.empty()

    for _ in range(CREW):
        another()
    for _ in range(KILLS_A_ROUND):
        gone.append(arena.strike(queue=queue))
        another()
        replace_full()
        for feeder in feeders:
            arena.alive(feeder, "a producer")
        if arena.enough:
            break
    stop[0] = 1
    arena.wait_until(drained, "what the producers put is not taken")
    for feeder in feeders:
        assert arena.join(feeder) == 0
    queue.put(None)
    for victim in arena.crew:
        assert arena.join(victim, "a consumer hangs") == 0
    gone += arena.crew
    arena.crew.clear()
    assert queue.get(timeout=PATIENCE_S) is None

    for victim in gone:
        read_log(victim, taken)
    inside = sum(victim.words[0] != victim.words[1] for victim in gone)
    missing = 0
    for producer in range(2):
        came = sorted(taken.get(producer, []))
        arena.count("items", len(came))
        assert len(set(came)) == len(came), f"an item of producer {producer} came twice"
        assert not came or came[-1] < put[producer], "an item came that nobody put"
        missing += put[producer] - len(came)
    arena.count("lost with the dead", missing)
    assert missing <= inside * batch, f"{missing} items are missing, {inside} died inside a call ({shape}, {batch})"
    check_empty_queue(arena, queue)
